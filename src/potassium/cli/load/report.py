"""What was measured of a load, for people and for machines."""

from collections.abc import Iterator
from typing import Any

from potassium.cli.load.figures import Figures, Spread
from potassium.cli.load.generator import Terms
from potassium.cli.remote.terminal import seconds_shown, size_shown, styled

__all__ = ["document", "lines", "progress"]

TOLERATED = 0.01  # share of calls that may begin late
SHORTEST = 1.0  # seconds of a load that says something of the client
SATURATED = 0.9  # share of a core from which the client itself may be what is measured


def document(url: str, figures: Figures, terms: Terms) -> dict[str, Any]:
    """Return the figures for machines; all times are in seconds."""
    return {
        "url": url,
        "connections": terms.connections,
        "rate": terms.rate,
        "seconds": round(figures.seconds, 3),
        "ended_early": figures.is_cut,
        "calls": len(figures.times),
        "calls_per_second": round(len(figures.times) / figures.seconds, 3),
        "latency": _spread(Spread.of(figures.times)),
        "first_chunk": _spread(Spread.of(figures.firsts)),
        "chunks": figures.chunks,
        "chunks_per_second": round(figures.chunks / figures.seconds, 3),
        "refused": dict(figures.refused),
        "retry_after": sorted(figures.retry_after),
        "failed": dict(figures.failed),
        "late": figures.late,
        "unfinished": figures.unfinished,
        "oldest_unfinished": round(figures.oldest, 3),
        "bytes": figures.received,
        "bytes_per_second": round(figures.received / figures.seconds),
        "client_cpu": round(figures.cpu, 3),
    }


def _spread(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    shown = {"mean": spread.mean, **{f"p{one}": at for one, at in spread.percentiles.items()}}
    return {name: round(at, 6) for name, at in {**shown, "max": spread.max}.items()}


def progress(figures: Figures, under_way: int, elapsed: float) -> str:
    """Return how far a load is, in a line."""
    parts = [f"{elapsed:.0f} s", f"{len(figures.times):,} calls", f"{under_way} under way"]
    parts += [f"{figures.refused.total():,} refused"] if figures.refused else []
    parts += [f"{figures.failed.total():,} failed"] if figures.failed else []
    return ", ".join(parts)


def lines(url: str, figures: Figures, terms: Terms) -> Iterator[str]:
    """Yield the lines of a table for people."""
    at = "" if terms.rate is None else f", {terms.rate:g} calls/s"
    early = ", ended early" if figures.is_cut else ""
    yield f"{url}: {terms.connections} connections{at}, {figures.seconds:.1f} s{early}"
    yield ""
    per_second = len(figures.times) / figures.seconds
    yield _row("calls", f"{len(figures.times):,}, {per_second:,.1f}/s")
    yield from _times("latency", Spread.of(figures.times))
    if figures.chunks:
        yield from _times("first chunk", Spread.of(figures.firsts))
        yield _row("chunks", f"{figures.chunks:,}, {figures.chunks / figures.seconds:,.1f}/s")
    for code, count in figures.refused.most_common():
        yield _row("refused", f"{count:,} {code}")
    if figures.retry_after:
        least, most = min(figures.retry_after), max(figures.retry_after)
        span = f"{least:g}" if least == most else f"{least:g} to {most:g}"
        waited = "waited for" if terms.waits else "not waited for"
        yield _row("", f"Retry-After: {span} s, {waited}")
    for code, count in figures.failed.most_common():
        yield _row("failed", styled(f"{count:,} {code}", fg="red"))
    if figures.unfinished:
        oldest = seconds_shown(figures.oldest)
        yield _row("unfinished", f"{figures.unfinished:,} at the end, the oldest after {oldest}")
    rate = size_shown(figures.received / figures.seconds)
    yield _row("received", f"{size_shown(figures.received)}, {rate}/s")
    yield from _warnings(figures, terms)


def _times(name: str, spread: Spread | None) -> Iterator[str]:
    if spread is None:
        return
    shown = [f"p{one} {seconds_shown(at)}" for one, at in spread.percentiles.items()]
    yield _row(name, "   ".join([*shown, f"max {seconds_shown(spread.max)}"]))


def _row(name: str, value: str) -> str:
    return f"{name:<12} {value}"


def _warnings(figures: Figures, terms: Terms) -> Iterator[str]:
    if figures.late > figures.ended * TOLERATED:
        yield styled(
            f"{figures.late:,} calls began late; their time counts from when they were due. The "
            f"server does not keep this rate, {terms.connections} connections (-c) are too few, or "
            "this client is too slow.",
            fg="yellow",
        )
    if figures.cpu > SATURATED and figures.seconds >= SHORTEST:
        yield styled(
            f"This client used {figures.cpu:.0%} of a core: the server may be faster than shown. "
            "Run several clients, or wrk.",
            fg="yellow",
        )
