"""The tables of jobs.py: medians of the rounds, beside the figures they are compared with."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from load import Load
from report import judged, milliseconds, p99, row, table

ACCEPTS = 2000  # per second, at least
WEBHOOK = 0.025  # seconds, at most
READY = 2.0  # seconds, at most
RATE = 0.8  # of the rate with an empty file, at least
MEMORY = 100e6  # bytes more than with an empty file, at most


@dataclass(kw_only=True)
class Taken:
    """What one round measured, and the share of the machine that other processes took."""

    others: float = field(default=1.0)


@dataclass(kw_only=True)
class Accepts(Taken):
    """Submits, direct calls, and the disk's records per second, one by one and 64 at a time.

    ``ended`` is the number of jobs that ended per second meanwhile.
    """

    jobs: Load
    direct: Load
    one: float
    many: float
    ended: float


@dataclass(kw_only=True)
class Webhooks(Taken):
    """Seconds to direct answers, to 202s and to the jobs' webhooks, and seconds per ``fsync``."""

    direct: list[float]
    accepted: list[float]
    arrived: list[float]
    sync: float


@dataclass(kw_only=True)
class Start(Taken):
    """Seconds until the server was ready, submits per second, and bytes of memory."""

    ready: float
    rate: float
    at_rest: int
    after_load: int


Round = TypeVar("Round", bound=Taken)


def _median(rounds: Sequence[Round], of: Callable[[Round], float]) -> float:
    return statistics.median(map(of, rounds))


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _others(rounds: Sequence[Taken]) -> list[float]:
    return [one.others for one in rounds]


def accepts(seen: dict[str, list[Accepts]]) -> None:
    """Print how many submits per second were answered with 202."""
    table(
        "jobs", "accepted/s", "aim", "", "/ direct calls", "/ records synced one by one",
        "/ records synced 64 at a time", "median", "p99", "jobs ended/s",
        "others' share of the machine",
    )  # fmt: skip
    for name, rounds in seen.items():
        rate = _median(rounds, lambda one: one.jobs.rate)
        row(
            name,
            f"{rate:.0f}",
            f"at least {ACCEPTS}",
            judged(*_others(rounds), reached=rate >= ACCEPTS),
            _range([one.jobs.rate / one.direct.rate for one in rounds]),
            _range([one.jobs.rate / one.one for one in rounds]),
            _range([one.jobs.rate / one.many for one in rounds]),
            milliseconds(_median(rounds, lambda one: one.jobs.p50)),
            milliseconds(_median(rounds, lambda one: one.jobs.p99)),
            f"{_median(rounds, lambda one: one.ended):.0f}",
            f"{max(_others(rounds)):.0%}",
        )
    rounds = [one for some in seen.values() for one in some]
    table("for orientation", "a second")
    row("direct calls", f"{_median(rounds, lambda one: one.direct.rate):.0f}")
    row("records synced one by one", f"{_median(rounds, lambda one: one.one):.0f}")
    row("records synced 64 at a time", f"{_median(rounds, lambda one: one.many):.0f}")


def webhooks(rounds: list[Webhooks]) -> None:
    """Print the time from a submit to its webhook, for jobs submitted one after the other."""
    table("from the request to", "median", "p99", "most", "/ direct answer", "aim", "")
    direct = _median(rounds, lambda one: statistics.median(one.direct))
    figures: dict[str, Callable[[Webhooks], list[float]]] = {
        "the direct answer": lambda one: one.direct,
        "202": lambda one: one.accepted,
        "the webhook": lambda one: one.arrived,
    }
    for name, of in figures.items():
        median = _median(rounds, lambda one: statistics.median(of(one)))  # noqa: B023 - called here
        row(
            name,
            milliseconds(median),
            milliseconds(_median(rounds, lambda one: p99(of(one)))),  # noqa: B023 - called here
            milliseconds(max(max(of(one)) for one in rounds)),
            f"{median / direct:.1f}",
            *(
                (
                    f"at most {milliseconds(WEBHOOK)}",
                    judged(*_others(rounds), reached=median <= WEBHOOK),
                )
                if name == "the webhook"
                else ("", "")
            ),
        )
    sync = _median(rounds, lambda one: one.sync)
    row("(one fsync)", milliseconds(sync), "", "", f"{sync / direct:.1f}", "", "")
    print(f"\nOthers took up to {max(_others(rounds)):.0%} of the machine.")


def starts(empty: Sequence[Start], full: Sequence[Start], queued: int) -> None:
    """Print the figures of a server with many queued jobs, beside those of a server with none."""
    others = [*_others(empty), *_others(full)]
    pairs = list(zip(empty, full, strict=True))
    ready = _median(full, lambda one: one.ready)
    rate = statistics.median(of.rate / to.rate for to, of in pairs)
    more = [
        statistics.median(of.at_rest - to.at_rest for to, of in pairs),
        statistics.median(of.after_load - to.after_load for to, of in pairs),
    ]
    table("figure", "none queued", f"{queued} queued", "compared", "aim", "")
    row(
        "from its start until it is ready",
        f"{_median(empty, lambda one: one.ready):.2f} s",
        f"{ready:.2f} s",
        f"{ready / _median(empty, lambda one: one.ready):.2f}",
        f"at most {READY:.0f} s",
        judged(*others, reached=ready <= READY),
    )
    row(
        "submits/s",
        f"{_median(empty, lambda one: one.rate):.0f}",
        f"{_median(full, lambda one: one.rate):.0f}",
        _range([of.rate / to.rate for to, of in pairs]),
        f"at least {RATE}",
        judged(*others, reached=rate >= RATE),
    )
    memory: dict[str, Callable[[Start], float]] = {
        "memory at rest": lambda one: one.at_rest,
        "memory after load": lambda one: one.after_load,
    }
    for (name, of), size in zip(memory.items(), more, strict=True):
        row(
            name,
            _megabytes(_median(empty, of)),
            _megabytes(_median(full, of)),
            f"{_megabytes(size)} more",
            f"at most {_megabytes(MEMORY)} more",
            judged(*others, reached=size <= MEMORY),
        )
    print(f"\nOthers took up to {max(others):.0%} of the machine.")


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"
