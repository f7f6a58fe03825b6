"""The tables of batching.py: each rate beside the rates it is compared with."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from embedding import Measured
from report import judged, milliseconds, row, table

LENGTHS = ("equal", "mixed")
OURS = "potassium"
LARGEST = 32

Direct = tuple[dict[str, float], float]  # rates by lengths, and the share that others took
Key = tuple[str, str]  # peer and lengths
Figures = dict[tuple[str, int], Measured]  # by lengths and connections
Servers = dict[tuple[str, int], Figures]  # by name and batch size
Beside = dict[tuple[str, int], Measured]  # by name and batch size, under the same load

# The lowest ratios of Potassium's rate to aim at; a dict gives them by number of connections.
OF_DIRECT = 0.95
OF_MOSEC = 1.0
OF_LITSERVE = 2.0
OF_THE_BETTER = {64: 1.6, 256: 2.0}
OF_BOTH_AT_LARGEST = 2.5
MORE_FOR_LONE = 0.001  # seconds


@dataclass(frozen=True)
class Reference:
    """A rate to compare with, and the lowest ratio to aim at.

    ``others`` is the share of the machine that other processes took meanwhile.
    """

    name: str
    rate: float
    least: float
    others: float


def _loads(servers: Servers) -> Iterator[tuple[str, int, Beside]]:
    """Yield lengths, connections, and each server's measurement under that load."""
    for lengths, connections in servers[OURS, LARGEST]:
        load = lengths, connections
        yield *load, {name: figures[load] for name, figures in servers.items() if load in figures}


def _best(servers: Beside, *names: str) -> Measured:
    """Return the measurement with the highest rate among the named servers."""
    return max(
        (one for (name, _), one in servers.items() if name in names), key=lambda one: one.rate
    )


def rates(servers: Servers, direct: list[Direct]) -> None:
    """Print every measurement, with the ratio of Potassium's rate to its rate."""
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
        each = [seen[lengths] for seen, _ in direct]
        row(name, *(f"{rate:.0f}" for rate in (statistics.mean(each), *each)))


def aims(servers: Servers, direct: list[Direct]) -> None:
    """Print the measured ratios beside their aims."""
    table("Potassium's rate, as a ratio to", "connections", "measured", "aim", "")
    for lengths, connections, beside in _loads(servers):
        ours = _best(beside, OURS)
        references = _mixed(beside, connections) if lengths == "mixed" else _equal(beside, direct)
        for reference in references:
            measured = ours.rate / reference.rate
            row(
                f"{reference.name}, {lengths} lengths",
                str(connections),
                f"{measured:.2f}",
                f"at least {reference.least:.2f}",
                judged(ours.others, reference.others, reached=measured >= reference.least),
            )
        if lengths == "mixed":
            peers = (_best(beside, "mosec"), _best(beside, "litserve"))
            theirs = min(peers, key=lambda one: one.p99)
            measured = ours.p99 / theirs.p99
            row(
                "the lower p99 latency of theirs at their best size, mixed lengths",
                str(connections),
                f"{measured:.2f}",
                "at most 1.00",
                judged(ours.others, theirs.others, reached=measured <= 1),
            )


def _equal(servers: Beside, direct: list[Direct]) -> list[Reference]:
    """Return what to compare the rate with equal lengths with."""
    called = statistics.mean(seen["equal"] for seen, _ in direct)
    disturbed = max(others for _, others in direct)
    mosec, litserve = _best(servers, "mosec"), _best(servers, "litserve")
    return [
        Reference("direct calls with full batches", called, OF_DIRECT, disturbed),
        Reference("mosec at its best size", mosec.rate, OF_MOSEC, mosec.others),
        Reference("LitServe at its best size", litserve.rate, OF_LITSERVE, litserve.others),
    ]


def _mixed(servers: Beside, connections: int) -> list[Reference]:
    """Return what to compare the rate with mixed lengths with."""
    largest = {name: one for name, one in servers.items() if name[1] == LARGEST}
    compared = [("both", largest, f"batch size {LARGEST}", OF_BOTH_AT_LARGEST)]
    if connections in OF_THE_BETTER:
        compared.insert(0, ("the better", servers, "its best size", OF_THE_BETTER[connections]))
    found = []
    for which, some, size, least in compared:
        one = _best(some, "mosec", "litserve")
        found.append(Reference(f"{which} of the peers at {size}", one.rate, least, one.others))
    return found


def alone(seen: dict[str, list[Measured]]) -> None:
    """Print a lone caller's latency, and how much batching adds to it."""
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
        others = (one.others for one in (*of, *without))
        reached = more <= MORE_FOR_LONE
        row(name, median, milliseconds(more), aim, judged(*others, reached=reached))
