"""What batches come to: MiniLM behind Potassium, mosec and LitServe, and called directly.

Run with ``nox -s batching``. Servers and load run in processes of their own, one server at a time;
torch has two threads in each. All run the same model code and tokenizer (minilm.py), and each text
is a request of its own, in a closed loop:

- equal lengths: 12 tokens each;
- mixed lengths: log-normal, median 24 tokens, sigma 0.8, cut to 3..256, from a fixed seed.

Potassium batches by tokens (``max_size=32``, padded tokens up to ``--max-cost``), with ``prepare``
for the tokenizer. The peers batch what comes, at the best of the sizes 1, 4, 8, 16 and 32: all are
tried for a short while at the least number of connections, and the two best measured in full at
each. mosec: one worker, ``max_wait_time=1`` (10 was no better under backlog, and worse for a lone
caller). LitServe: ``workers_per_device=1``, ``fast_queue=True``, ``batch_timeout=0`` (the sixteen
combinations with and without the fast queue and 2, 10 and 50 ms came to the same within noise).
Both answer with bytes that orjson made.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import batching_report
import load
import peers
from batching_report import LENGTHS, Figures, Key
from embedding import Measured, Texts
from report import machine, row, table
from serving import Server

SIZES = (1, 4, 8, 16, 32)
LARGEST = SIZES[-1]
BEST = 2  # sizes that are measured in full
QUIETLY = {"mosec": ("--log-level", "error"), "litserve": ()}


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


def search(sent: Texts, connections: int, seconds: float) -> dict[Key, list[int]]:
    """Try the peers' batch sizes; return the best ones, the very best first, for each lengths."""
    table("peer", "batch size", *(f"{lengths} lengths, requests/s" for lengths in LENGTHS))
    best = {}
    for name in peers.PEERS:
        rates: dict[int, list[float]] = {}
        for size in SIZES:
            with peer(name, size) as server:
                rates[size] = [
                    sent.send(server, lengths, connections, seconds).rate for lengths in LENGTHS
                ]
            row(name, str(size), *(f"{rate:.0f}" for rate in rates[size]))
        for at, lengths in enumerate(LENGTHS):
            ranked = sorted(SIZES, key=lambda size: rates[size][at], reverse=True)
            best[name, lengths] = ranked[:BEST]
    return best


def measure(
    sent: Texts, best: dict[Key, list[int]], connections: list[int], seconds: float
) -> Figures:
    """Measure the peers at their best sizes, and at the largest with mixed lengths."""
    figures: Figures = {}
    for name in peers.PEERS:
        for size in SIZES:
            wanted = [lengths for lengths in LENGTHS if size in best[name, lengths]]
            if size == LARGEST and "mixed" not in wanted:
                wanted.append("mixed")
            if not wanted:
                continue
            with peer(name, size) as server:
                for lengths in wanted:
                    for count in connections:
                        measured = sent.send(server, lengths, count, seconds)
                        figures.setdefault((lengths, count), {})[name, size] = measured
    return figures


def alone(sent: Texts, server: Server, rounds: int, seconds: float) -> None:
    """Print what a lone caller pays for batching."""
    routes = {"/single": "no batching", "/simple": "batching", "/embed": "by tokens, prepare"}
    seen: dict[str, list[Measured]] = {route: [] for route in routes}
    for _ in range(rounds):
        for route, of in seen.items():
            of.append(sent.send(server, "equal", 1, seconds, route))
    batching_report.alone({routes[route]: of for route, of in seen.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--seconds", type=float, default=8, help="of load that counts, each time")
    parser.add_argument("--max-cost", type=int, default=384, help="padded tokens in a batch")
    parser.add_argument("--quick", action="store_true", help="a fourth of the time")
    parser.add_argument("--only", choices=["potassium"], help="without the peers")
    options = parser.parse_args()
    seconds = options.seconds / (4 if options.quick else 1)
    print(__doc__)
    print(f"Machine: {machine()}; {', '.join(peers.PEERS.values())}")
    direct_script = str(Path(__file__).with_name("direct.py"))
    direct_command = [sys.executable, direct_script, str(LARGEST), str(options.max_cost)]
    with tempfile.TemporaryDirectory() as folder:
        sent = Texts(Path(folder))
        best, figures = {}, {}
        if not options.only:
            best = search(sent, min(options.connections), seconds / 2)
            figures = measure(sent, best, options.connections, seconds)
        direct = [load.result([*direct_command, str(seconds / 2)])]
        with serving("potassium", str(LARGEST), str(options.max_cost)) as server:
            for lengths in LENGTHS:
                for count in options.connections:
                    measured = sent.send(server, lengths, count, seconds)
                    figures.setdefault((lengths, count), {})["potassium", LARGEST] = measured
            alone(sent, server, rounds=3, seconds=seconds / 4)
        direct.append(load.result([*direct_command, str(seconds / 2)]))
    batching_report.rates(figures, direct)
    if not options.only:
        batching_report.aims(figures, direct)


if __name__ == "__main__":
    main()
