"""Measure rates of calls, large bodies, chunks and texts, of all servers in turns."""

import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cores
import load
import minilm
import variants
import workers_memory
from disturbance import Others, Patience
from embedding import Texts
from serving import Server
from variants import LITSERVE, MOSEC, ONE, Variant
from workers_memory import Memory
from workers_plan import Plan
from workers_report import Measured, show

SIZE = 1_000_000  # bytes of a body
AT_ONCE = 4  # connections with such bodies
TEXTS = 64  # connections with texts
FEWER = 10  # times, of chunks that LitServe streams
CHUNKS = 200_000  # chunks/s to aim at
LEAST = {"busy": {ONE: 1.8}, "noop": {ONE: 0.6, MOSEC: 2.0}}  # ratios of rates to aim at
MEDIA_TYPES = {"bytes": "application/octet-stream", "json": "application/json"}
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Seen:
    """What a load saw: how many calls or chunks, how many a second, and the p99 in seconds."""

    count: int
    rate: float
    p99: float | None = None


def calls(plan: Plan, name: str, what: str, connections: int) -> None:
    """Print the rate and p99 of calls with small bodies."""
    body = json.dumps(variants.BODIES.get(name, {}))
    path = f"/{name}"

    def post(server: Server) -> Seen:
        seen = load.post(
            server.port, body, connections=connections, seconds=plan.seconds, path=path
        )
        if seen.errors:
            raise SystemExit(f"{server.name}: {seen.errors} errors under load")
        return Seen(seen.requests, seen.rate, seen.p99)

    seen, free = _measured(plan, plan.variants(MOSEC, LITSERVE), name, post)
    show(f"{what}, {connections} connections", seen, free, LEAST[name])


def bodies(plan: Plan) -> None:
    """Print the rate of bodies of 1 MB that go in and come back."""
    values = random.Random(1).choices(range(10**7), k=SIZE // 8)  # noqa: S311 - to be repeated
    _bodies(plan, "bytes", bytes(SIZE), MOSEC)  # LitServe takes JSON and forms alone
    _bodies(plan, "json", json.dumps({"values": values}).encode(), MOSEC, LITSERVE)


def _bodies(plan: Plan, form: str, body: bytes, *peers: str) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        given = (f"/{form}", MEDIA_TYPES[form], file.name, AT_ONCE, plan.seconds)

        def send(server: Server) -> Seen:
            seen = _run("binary_load", server.port, *given)
            if seen["sizes"][0] < SIZE / 2:
                raise SystemExit(f"{server.name} returned something else")
            return Seen(seen["calls"], seen["rate"])

        seen, free = _measured(plan, plan.variants(*peers), form, send)
    show(f"{form}, {len(body) / 1e6:.1f} MB in and out, {AT_ONCE} connections", seen, free)


def stream(plan: Plan) -> None:
    """Print the chunks per second of one stream."""

    def read(server: Server) -> Seen:
        chunks = plan.chunks // (FEWER if "litserve" in server.name else 1)
        seen = _run("stream_load", server.port, "*/*", 1, chunks, 0.0, "/stream")
        return Seen(chunks, chunks / seen["last"][0])

    seen, free = _measured(plan, plan.variants(LITSERVE), "stream", read)
    show(f"chunks of one stream of {plan.chunks}", seen, free, of_workers=CHUNKS)


def batches(plan: Plan) -> None:
    """Print the rate of texts that MiniLM embeds in batches, and the memory with that model."""
    free = cores.twice()
    workers, one = variants.potassium(plan.devices, "embed_potassium")
    some = [
        replace(workers, env={**workers.env, minilm.THREADS: "1"}),
        replace(one, env={**one.env, minilm.THREADS: str(workers.processes)}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        texts = Texts(Path(folder), Patience(plan.patience))
        with variants.started(some, "nap") as servers:
            measured = {}
            for lengths in ("equal", "mixed"):

                def send(server: Server, lengths: str = lengths) -> Measured:
                    seen = texts.send(server, lengths, TEXTS, plan.seconds)
                    return Measured(rate=seen.rate, p99=seen.p99, others=seen.others)

                variants.in_turns(servers, 1, send)  # warm-up
                measured[lengths] = variants.in_turns(servers, plan.rounds, send)
            sizes = {name: Memory.of(server) for name, server in servers.items()}
    free = min(free, cores.twice())
    for lengths, seen in measured.items():
        show(f"MiniLM, texts of {lengths} lengths, {TEXTS} connections", seen, free)
    workers_memory.show("memory (PSS) with MiniLM", sizes)


def _run(script: str, *arguments: object) -> dict[str, Any]:
    """Run a load generator of this folder."""
    return load.result([sys.executable, str(HERE / f"{script}.py"), *map(str, arguments)])


def _measured(
    plan: Plan, some: list[Variant], name: str, send: Callable[[Server], Seen]
) -> tuple[dict[str, list[Measured]], float]:
    """Measure servers in turns, after a round to warm up.

    Args:
        plan: says how often.
        some: the servers.
        name: of their work.
        send: puts load on one of them.

    Returns:
        the measurements, and how many times the work of one busy process two of them did, before
        and after, whichever is less.

    """
    free = cores.twice()
    with variants.started(some, name) as servers:
        variants.in_turns(servers, 1, send)

        def take(server: Server) -> Measured:
            others = Others(*(one.seen for one in servers.values()))
            before = _spent(server)
            seen = send(server)
            spent = zip(_spent(server), before, strict=True)
            front, below = ((after - since) / seen.count for after, since in spent)
            return Measured(rate=seen.rate, p99=seen.p99, others=others.share(), cpu=(front, below))

        measured = variants.in_turns(servers, plan.rounds, take)
    return measured, min(free, cores.twice())


def _spent(server: Server) -> tuple[float, float]:
    """Return the CPU seconds of a server's first process, and of all below it."""
    family = [server.seen, *server.seen.children(recursive=True)]
    seconds = [sum(one.cpu_times()[:2]) for one in family]
    return seconds[0], sum(seconds[1:])
