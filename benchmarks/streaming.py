"""Measure a generator's chunks over HTTP: how many per second, how soon, to how many clients.

Run with ``nox -s streaming``. All servers use the same plain generator, which yields the time and a
mark. The client counts marks, because HTTP chunks may be merged on their way. Servers and client
run in their own processes; the servers take turns in each round.

- potassium: a generator handler with ``streams=64``; raw chunks, and server-sent events (SSE).
- starlette: ``StreamingResponse`` over the generator, under uvicorn with uvloop and httptools.
- litserve: ``predict`` and ``encode_response`` yield, ``stream=True``, ``workers_per_device=1``,
  ``fast_queue=True`` (the other queue was no faster). One worker runs one stream after the other.

Each ratio is the median of the rounds' ratios, with the lowest and the highest.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import load
import peers
from report import machine, milliseconds, p99, row, table, verdict
from serving import Server

LOAD = str(Path(__file__).with_name("stream_load.py"))
RAW, SSE = "*/*", "text/event-stream"

# The lowest ratios to aim at, of Potassium's raw chunks per second to the others', and the most
# seconds that a chunk of a slow generator may take.
LEAST = {"starlette": 5.0, "litserve": 20.0}
MOST = 0.005
SLOW = 0.01  # seconds per chunk


@dataclass(frozen=True)
class Streams:
    """What a client saw of simultaneous streams; times are in seconds from the requests."""

    chunks: int
    first: list[float]
    last: list[float]
    delays: list[float]

    @property
    def rate(self) -> float:
        """Chunks per second, of all streams together."""
        return self.chunks / max(self.last)


@dataclass(frozen=True)
class Source:
    """A server, and the media type to ask it for."""

    name: str
    server: Server
    accept: str

    def read(self, streams: int, chunks: int, delay: float = 0.0) -> Streams:
        arguments = (self.server.port, self.accept, streams, chunks, delay)
        seen = load.result([sys.executable, LOAD, *map(str, arguments)])
        return Streams(chunks=streams * chunks, **seen)


def ratio(ours: list[Streams], theirs: list[Streams]) -> tuple[float, str]:
    """Return the median of the rounds' ratios of rates, and its printed form."""
    ratios = sorted(one.rate / other.rate for one, other in zip(ours, theirs, strict=True))
    median = statistics.median(ratios)
    return median, f"{median:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"


def rounds(
    sources: list[Source], count: int, read: Callable[[Source], Streams]
) -> dict[str, list[Streams]]:
    """Read from each source in turn, for ``count`` rounds."""
    seen: dict[str, list[Streams]] = {source.name: [] for source in sources}
    for _ in range(count):
        for source in sources:
            seen[source.name].append(read(source))
    return seen


def many_chunks(sources: list[Source], count: int, chunks: int) -> None:
    """Print how many chunks per second one stream has."""
    seen = rounds(sources, count, lambda source: source.read(1, chunks))
    ours, *_ = seen.values()
    table(f"one stream of {chunks} chunks", "chunks/s", "potassium, raw / it", "aim", "")
    for name, streams in seen.items():
        rate = f"{statistics.median(one.rate for one in streams):.0f}"
        median, printed = ratio(ours, streams)
        if name in LEAST:
            reached = verdict(reached=median >= LEAST[name])
            row(name, rate, printed, f"at least {LEAST[name]:.0f}", reached)
        else:
            row(name, rate, printed, "", "")


def slow_chunks(sources: list[Source], chunks: int) -> None:
    """Print how long each chunk takes from its yield to the client, if the generator is slow."""
    table(f"{chunks} chunks, {SLOW * 1000:.0f} ms each", "median", "p99", "most", "aim", "")
    for source in sources:
        delays = source.read(1, chunks, SLOW).delays
        shown = [milliseconds(of(delays)) for of in (statistics.median, p99, max)]
        if source.name.startswith("potassium"):
            reached = verdict(reached=max(delays) <= MOST)
            row(source.name, *shown, f"at most {milliseconds(MOST)}", reached)
        else:
            row(source.name, *shown, "", "")


def many_streams(sources: list[Source], count: int, streams: int, chunks: int) -> None:
    """Print the chunks per second of many streams together, and when each begins and ends."""
    seen = rounds(sources, count, lambda source: source.read(streams, chunks))
    ours, *_ = seen.values()
    table(
        f"{streams} streams of {chunks} chunks", "chunks/s", "potassium, raw / it",
        "first chunks of streams", "ends of streams", "first end / last end",
    )  # fmt: skip
    for name, each in seen.items():
        middle = sorted(each, key=lambda one: one.rate)[len(each) // 2]
        row(
            name,
            f"{middle.rate:.0f}",
            ratio(ours, each)[1],
            f"{milliseconds(min(middle.first))} to {milliseconds(max(middle.first))}",
            f"{milliseconds(min(middle.last))} to {milliseconds(max(middle.last))}",
            f"{min(middle.last) / max(middle.last):.2f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000, help="of the one stream")
    parser.add_argument("--streams", type=int, default=64, help="at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of each")
    options = parser.parse_args()
    count = 1 if options.quick else options.rounds
    print(__doc__)
    print(f"Machine: {machine()}; {peers.PEERS['litserve']}")
    with ExitStack() as stack:
        servers = {
            "potassium": Server("stream_potassium"),
            "starlette": Server("stream_starlette"),
            "litserve": Server("stream_litserve", python=peers.python("litserve")),
        }
        for server in servers.values():
            stack.callback(server.stop)
        for server in servers.values():
            server.wait_until_it_listens()
        sources = [
            Source("potassium, raw", servers["potassium"], RAW),
            Source("potassium, SSE", servers["potassium"], SSE),
            Source("starlette", servers["starlette"], RAW),
            Source("litserve", servers["litserve"], RAW),
        ]
        for source in sources:
            source.read(1, 1000)  # warm-up
        many_chunks(sources, count, options.chunks)
        slow_chunks(sources, 100 if options.quick else 500)
        many_streams(sources, min(count, 3), options.streams, 1000)
        # Long enough for all streams to begin before the first can end.
        many_streams(sources[:2], min(count, 3), options.streams, options.chunks)


if __name__ == "__main__":
    main()
