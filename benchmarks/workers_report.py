"""The tables of rates in workers.py."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import cores
from disturbance import TOLERATED
from report import milliseconds, ratios, row, table, verdict
from variants import WORKERS


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A server's rate, and the share of the machine that other processes took meanwhile.

    Args:
        rate: a second.
        others: the share.
        p99: of the latency, in seconds.
        cpu: the seconds of CPU time per call of the server's first process, and of all below it.

    """

    rate: float
    others: float
    p99: float | None = None
    cpu: tuple[float, float] | None = None


def show(
    what: str,
    seen: Mapping[str, list[Measured]],
    free: float,
    least: Mapping[str, float] | None = None,
    of_workers: float | None = None,
) -> None:
    """Print a table of rates, each beside that of the workers.

    Args:
        what: was measured.
        seen: the measurements of each variant, by round.
        free: times the work of one process that two did; says whether the figures can be judged.
        least: the lowest ratios to aim at, of the workers' rate to that of another.
        of_workers: the lowest rate of the workers to aim at.

    """
    least = least or {}
    table(
        what, "a second", "workers / it", "aim", "", "p99", "workers / it",
        "CPU per call: its first process", "those below it", "others' share of the machine",
    )  # fmt: skip
    for name, measured in seen.items():
        middle = statistics.median(one.rate for one in measured)
        ratio, shown = ratios([one.rate for one in seen[WORKERS]], [one.rate for one in measured])
        disturbed = max(_disturbed(seen[WORKERS]), _disturbed(measured))
        aim = judgement = ""
        if name in least:
            aim = f"at least {least[name]}"
            judgement = judged(disturbed, free, reached=ratio >= least[name])
        elif name == WORKERS and of_workers:
            aim = f"at least {of_workers:.0f}"
            judgement = judged(disturbed, free, reached=middle >= of_workers)
        row(
            name,
            f"{middle:.0f}",
            "" if name == WORKERS else shown,
            aim,
            judgement,
            *_latency(seen[WORKERS], measured),
            *_cpu(measured),
            f"{disturbed:.0%}",
        )
    print(f"\nTwo busy processes did {free:.2f} times the work of one.")


def judged(disturbed: float, free: float, *, reached: bool) -> str:
    """Return a verdict, unless the machine did not have two cores to give."""
    if free < cores.FREE:
        return "not judged: no two free cores"
    return verdict(reached=reached) if disturbed <= TOLERATED else "not judged: disturbed"


def _disturbed(measured: list[Measured]) -> float:
    return statistics.median(one.others for one in measured)


def _latency(ours: list[Measured], measured: list[Measured]) -> tuple[str, str]:
    mine, its = ([one.p99 for one in some if one.p99 is not None] for some in (ours, measured))
    if not its:
        return "", ""
    return milliseconds(statistics.median(its)), "" if ours is measured else ratios(mine, its)[1]


def _cpu(measured: list[Measured]) -> list[str]:
    spent = [one.cpu for one in measured if one.cpu is not None]
    if not spent:
        return ["", ""]
    return [f"{statistics.median(part) * 1e6:.0f} us" for part in zip(*spent, strict=True)]
