"""The tables of batching.py: rates beside what they are held against."""

import statistics
from collections.abc import Iterator

from embedding import Measured
from report import milliseconds, row, table, verdict

LENGTHS = ("equal", "mixed")
OURS = "potassium"
LARGEST = 32

Key = tuple[str, str]  # peer and lengths
Figures = dict[tuple[str, int], Measured]  # by lengths and connections
Servers = dict[tuple[str, int], Figures]  # by name and batch size
Beside = dict[tuple[str, int], Measured]  # by name and batch size, under the same load

# At least so many times the rate, by lengths and connections; None stands for any number.
OF_DIRECT = 0.95
OF_MOSEC = 1.0
OF_LITSERVE = 2.0
OF_THE_BETTER = {64: 1.6, 256: 2.0}
OF_BOTH_AT_LARGEST = 2.5
MORE_FOR_LONE = 0.001  # seconds


def _loads(servers: Servers) -> Iterator[tuple[str, int, Beside]]:
    """Yield lengths, connections, and what came of them with each server."""
    for lengths, connections in servers[OURS, LARGEST]:
        load = lengths, connections
        yield *load, {name: figures[load] for name, figures in servers.items() if load in figures}


def _best(servers: Beside, *names: str) -> Measured:
    """Return the measurement with the highest rate, out of those of some servers."""
    return max(
        (one for (name, _), one in servers.items() if name in names), key=lambda one: one.rate
    )


def _direct(direct: list[dict[str, float]], lengths: str) -> float:
    return statistics.mean(seen[lengths] for seen in direct)


def rates(servers: Servers, direct: list[dict[str, float]]) -> None:
    """Print what was measured, each rate with the ratio of Potassium's to it."""
    table(
        "lengths", "connections", "server", "batch size", "potassium / it", "tokens alike",
        "requests/s", "tokens/s", "median", "p99", "padding", "model busy", "batches by rows",
        "others' share of the machine",
    )  # fmt: skip
    for lengths, connections, beside in _loads(servers):
        ours = _best(beside, OURS)
        for (name, size), one in beside.items():
            row(
                lengths,
                str(connections),
                name,
                f"up to {size}",
                f"{ours.rate / one.rate:.2f}",
                f"{ours.token_rate / one.token_rate:.2f}",
                f"{one.rate:.0f}",
                f"{one.token_rate:.0f}",
                milliseconds(one.median),
                milliseconds(one.p99),
                f"{one.batches.padding:.0%}",
                f"{one.batches.busy:.0%}",
                one.batches.sizes,
                f"{one.others:.0%}",
            )
    table("model called directly", "requests/s", "before", "after")
    names = {"equal": "equal lengths, full batches", "mixed": "mixed lengths, sorted beforehand"}
    for lengths, name in names.items():
        each = (f"{seen[lengths]:.0f}" for seen in direct)
        row(name, f"{_direct(direct, lengths):.0f}", *each)


def aims(servers: Servers, direct: list[dict[str, float]]) -> None:
    """Print the ratios that were aimed at."""
    table("Potassium's rate, as a ratio to", "connections", "measured", "aim", "")
    for lengths, connections, beside in _loads(servers):
        ours = _best(beside, OURS)
        for name, reference, least in _references(beside, lengths, connections, direct):
            measured = ours.rate / reference
            row(
                f"{name}, {lengths} lengths",
                str(connections),
                f"{measured:.2f}",
                f"at least {least:.2f}",
                verdict(reached=measured >= least),
            )
        if lengths == "mixed":
            theirs = min(_best(beside, "mosec").p99, _best(beside, "litserve").p99)
            measured = ours.p99 / theirs
            row(
                "the lower p99 latency of theirs at their best size, mixed lengths",
                str(connections),
                f"{measured:.2f}",
                "at most 1.00",
                verdict(reached=measured <= 1),
            )


def _references(
    servers: Beside, lengths: str, connections: int, direct: list[dict[str, float]]
) -> list[tuple[str, float, float]]:
    """Return names, rates, and the least ratio to them."""
    if lengths == "equal":
        return [
            ("direct calls with full batches", _direct(direct, "equal"), OF_DIRECT),
            ("mosec at its best size", _best(servers, "mosec").rate, OF_MOSEC),
            ("LitServe at its best size", _best(servers, "litserve").rate, OF_LITSERVE),
        ]
    better = _best(servers, "mosec", "litserve").rate
    largest = max(servers["mosec", LARGEST].rate, servers["litserve", LARGEST].rate)
    found = [(f"both at batch size {LARGEST}", largest, OF_BOTH_AT_LARGEST)]
    if connections in OF_THE_BETTER:
        least = OF_THE_BETTER[connections]
        found.insert(0, ("the better of the peers at its best size", better, least))
    return found


def alone(seen: dict[str, list[Measured]]) -> None:
    """Print the latency of one caller, and how much more it is than without batching."""
    table("handler, 1 connection", "median", "more than without batching", "aim", "")
    (_, without), *_ = seen.items()
    for name, of in seen.items():
        pairs = zip(of, without, strict=True)
        more = statistics.median(one.median - other.median for one, other in pairs)
        median = milliseconds(statistics.median(one.median for one in of))
        if of is without:
            row(name, median, "", "", "")
            continue
        aim = f"at most {milliseconds(MORE_FOR_LONE)}"
        row(name, median, milliseconds(more), aim, verdict(reached=more <= MORE_FOR_LONE))
