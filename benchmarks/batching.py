"""Measure what batching gains: MiniLM behind Potassium, mosec and LitServe, and called directly.

Run with ``nox -s batching``. Servers and load generators run in their own processes, one server at
a time; torch has two threads in each. All servers run the same model code and tokenizer
(minilm.py). Each text is a separate request, in a closed loop:

- equal lengths: 12 tokens each;
- mixed lengths: log-normal, median 24 tokens, sigma 0.8, clamped to 3..256, from a fixed seed.

Potassium batches by tokens (``max_size=32``, padded tokens up to ``--max-cost``) and tokenizes in
``prepare``. The peers batch whatever arrives, at the best of the sizes 1, 4, 8, 16 and 32: all
sizes are tried briefly at the lowest number of connections, and the best two are measured in full
at every number of connections. mosec: one worker, ``max_wait_time=1`` (10 was no better under a
backlog, and worse for a lone caller). LitServe: ``workers_per_device=1``, ``fast_queue=True``,
``batch_timeout=0`` (under a backlog, either queue with 0, 2, 10 or 50 ms gave the same result
within noise, and 0 is best for a lone caller). Both peers answer with bytes that orjson makes from
numpy rows.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import batching_report
import load
import minilm
import peers
from batching_report import LARGEST, LENGTHS, Figures, Key, Servers
from disturbance import Patience
from embedding import Measured, Texts
from report import machine, row, table
from serving import Server

SIZES = (1, 4, 8, 16, LARGEST)
BEST = 2  # sizes to measure in full
QUIETLY = {"mosec": ("--log-level", "error"), "litserve": ()}


@dataclass(frozen=True)
class Plan:
    """What to measure, and for how many seconds each time."""

    lengths: list[str]
    connections: list[int]
    sizes: list[int]
    seconds: float


@contextmanager
def serving(name: str, *arguments: str, python: str = sys.executable) -> Iterator[Server]:
    server = Server(f"embed_{name}", *arguments, python=python)
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.stop()


@contextmanager
def peer(name: str, size: int) -> Iterator[Server]:
    with serving(name, str(size), *QUIETLY[name], python=peers.python(name)) as server:
        yield server


def search(sent: Texts, plan: Plan) -> dict[Key, list[int]]:
    """Try the peers' batch sizes briefly; return the best sizes for each peer and lengths."""
    connections = min(plan.connections)
    columns = (f"{lengths} lengths, requests/s" for lengths in plan.lengths)
    table(f"peer, {connections} connections", "batch size", *columns)
    rates: dict[tuple[str, str, int], float] = {}
    for name in peers.PEERS:
        for size in plan.sizes:
            with peer(name, size) as server:
                for lengths in plan.lengths:
                    measured = sent.send(server, lengths, connections, plan.seconds / 2)
                    rates[name, lengths, size] = measured.rate
            row(name, str(size), *(f"{rates[name, kind, size]:.0f}" for kind in plan.lengths))
    return {
        (name, lengths): sorted(plan.sizes, key=lambda size: -rates[name, lengths, size])[:BEST]
        for name in peers.PEERS
        for lengths in plan.lengths
    }


def measure(sent: Texts, plan: Plan, server: Server, wanted: list[str]) -> Figures:
    """Measure one server in full."""
    return {
        (lengths, connections): sent.send(server, lengths, connections, plan.seconds)
        for lengths in wanted
        for connections in plan.connections
    }


def measure_peers(sent: Texts, plan: Plan, best: dict[Key, list[int]]) -> Servers:
    """Measure the peers at their best sizes, and with mixed lengths also at the largest size."""
    servers = {}
    for name in peers.PEERS:
        for size in SIZES:
            wanted = [
                lengths
                for lengths in plan.lengths
                if size in best[name, lengths] or (lengths == "mixed" and size == LARGEST)
            ]
            if wanted:
                with peer(name, size) as server:
                    servers[name, size] = measure(sent, plan, server, wanted)
    return servers


def alone(sent: Texts, server: Server, rounds: int, seconds: float) -> None:
    """Print what batching costs a lone caller."""
    routes = {"/single": "no batching", "/simple": "batching", "/embed": "by tokens, prepare"}
    seen: dict[str, list[Measured]] = {route: [] for route in routes}
    for _ in range(rounds):
        for route, of in seen.items():
            of.append(sent.send(server, "equal", 1, seconds, route))
    batching_report.alone({routes[route]: of for route, of in seen.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=[*LENGTHS])
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=[*SIZES])
    parser.add_argument("--seconds", type=float, default=8, help="of load that counts, each time")
    parser.add_argument("--max-cost", type=int, default=384, help="padded tokens in a batch")
    parser.add_argument("--quick", action="store_true", help="a fourth of the seconds")
    parser.add_argument(
        "--patience",
        type=float,
        default=120,
        help="seconds to wait in all, while others use the machine",
    )
    parser.add_argument("--without-peers", action="store_true")
    given = parser.parse_args()
    seconds = given.seconds / (4 if given.quick else 1)
    plan = Plan(given.lengths, given.connections, given.sizes, seconds)
    print(__doc__)
    print(f"Machine: {machine()}; {', '.join(peers.PEERS.values())}")
    script = str(Path(__file__).with_name("direct.py"))
    direct = [sys.executable, script, str(LARGEST), str(given.max_cost), str(seconds / 2)]
    servers: Servers = {}
    with tempfile.TemporaryDirectory() as folder:
        patience = Patience(given.patience)
        sent = Texts(Path(folder), patience)
        if not given.without_peers:
            servers |= measure_peers(sent, plan, search(sent, plan))
        called = [patience.measure(lambda: load.result(direct))]
        os.environ[minilm.MAX_COST] = str(given.max_cost)
        with serving("potassium") as server:
            servers["potassium", LARGEST] = measure(sent, plan, server, plan.lengths)
            alone(sent, server, rounds=3, seconds=seconds / 4)
        called.append(patience.measure(lambda: load.result(direct)))
    batching_report.rates(servers, called)
    if not given.without_peers:
        batching_report.aims(servers, called)


if __name__ == "__main__":
    main()
