"""Send mixed traffic for minutes, and check whether the server holds more than before.

Good calls, malformed ones, wrong types, bodies that are too large, clients that leave, half-sent
bodies, slow readers, failing handlers and bursts that are refused; and attackers, who send heads
without end, read nothing, collide hashes and so on. All at a bounded rate, over raw sockets, to a
server in its own process, which is sampled every second. The first minute is compared with the
last. Both end with a pause: at rest there must not be one thread, task or socket more than before.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from attackers import ATTACKS
from clients import CHANCE, KINDS, Visit
from report import machine, mebibytes, row, table
from serving import Server, running

RATES = KINDS | ATTACKS  # visits per second
SETTLE = 2.0  # seconds without any client before the server counts as at rest
# Growth that is allowed: of memory because of allocators, of blocks because of caches.
GROWTH = {"memory": 1.05, "blocks": 1.01}
SHOWN = 5  # unexpected answers to print


@dataclass(frozen=True)
class Sample:
    """What a server holds at one moment.

    ``blocks`` are those that Python's allocator has given out, so what is in use; ``memory`` is
    what the process has of the system, in bytes, with all that its allocators keep for later.
    """

    threads: int
    tasks: int
    sockets: int
    files: int
    blocks: int
    memory: int


FIGURES = tuple(Sample.__dataclass_fields__)


async def look(server: Server, *, collect: bool = False) -> Sample:
    """Sample the server; the one connection that asks for its tasks is part of the sample.

    With ``collect``, blocks are counted without garbage; memory is what it was before that.
    """
    memory = server.resident()
    async with Visit(server.port) as visit:
        visit.send("/held?collect" if collect else "/held", b"", method="GET")
        held = json.loads(await visit.answer(200))
        with server.seen.oneshot():
            return Sample(
                threads=server.seen.num_threads(),
                tasks=held["tasks"],
                sockets=len(server.seen.net_connections(kind="tcp")),
                files=server.seen.num_fds(),
                blocks=held["blocks"],
                memory=memory,
            )


class Traffic:
    """Clients of every kind that come and go for a given time."""

    def __init__(self, port: int) -> None:
        self.visits: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self._port = port
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, seconds: float) -> None:
        """Let clients come for ``seconds``, and wait until the last one has left."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._keep_coming(kind, end) for kind in RATES))
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _keep_coming(self, kind: Callable[[int], Awaitable[None]], end: float) -> None:
        while time.monotonic() < end:
            visit = asyncio.create_task(self._visit(kind))
            self._under_way.add(visit)
            visit.add_done_callback(self._under_way.discard)
            await asyncio.sleep(CHANCE.uniform(0.5, 1.5) / RATES[kind])

    async def _visit(self, kind: Callable[[int], Awaitable[None]]) -> None:
        name = kind.__name__
        self.visits[name] += 1
        try:
            await kind(self._port)
        except Exception as error:  # noqa: BLE001 - all of them are told
            self.unexpected.append(f"{name}: {error!r}")


async def sampled(server: Server, traffic: Traffic, seconds: float) -> tuple[list[Sample], Sample]:
    """Let clients come for ``seconds``; return a sample of each second, and one at rest."""
    samples = []
    sending = asyncio.create_task(traffic.send(seconds))
    while not sending.done():
        await asyncio.wait({sending}, timeout=1)
        samples.append(await look(server))
    await sending
    await asyncio.sleep(SETTLE)
    return samples, await look(server, collect=True)


def compare(first: tuple[list[Sample], Sample], last: tuple[list[Sample], Sample]) -> list[str]:
    """Print the first minute beside the last, and return the figures that have grown.

    Only the samples at rest decide: under load, chance decides how many clients meet.
    """
    grown = []
    table("figure", "when", "first", "last", "ratio", "at most")
    for figure in FIGURES:
        form = mebibytes if figure == "memory" else "{:.0f}".format
        most = GROWTH.get(figure, 1.0)
        busy = [
            statistics.median(getattr(sample, figure) for sample in samples)
            for samples, _ in (first, last)
        ]
        rest = [getattr(sample, figure) for _, sample in (first, last)]
        row(figure, "under load, median", *map(form, busy), f"{busy[1] / busy[0]:.2f}", "")
        row("", "at rest", *map(form, rest), f"{rest[1] / rest[0]:.2f}", f"{most:.2f}")
        if rest[1] > most * rest[0]:
            grown.append(figure)
    return grown


async def soak(server: Server, seconds: float) -> list[str]:
    """Run the traffic, print the samples, and return all faults."""
    minute = min(60, seconds / 3)
    traffic = Traffic(server.port)
    first = await sampled(server, traffic, minute)
    await sampled(server, traffic, seconds - 2 * minute)
    last = await sampled(server, traffic, minute)
    print(f"\nVisits: {', '.join(f'{name} {count}' for name, count in traffic.visits.items())}")
    grown = compare(first, last)
    faults = [f"{what} has grown" for what in grown]
    if traffic.unexpected:
        faults.append(f"{len(traffic.unexpected)} unexpected answers")
        faults += traffic.unexpected[:SHOWN]
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    seconds = 60 * parser.parse_args().minutes
    print(__doc__)
    print(f"Machine: {machine()}")
    print(f"{seconds:.0f} s; the first and the last {min(60, seconds / 3):.0f} s are compared")
    with running("mixed_potassium") as (server,):
        faults = asyncio.run(soak(server, seconds))
    print("\n" + ("\n".join(faults) or "Nothing has grown."))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
