"""Print what the benchmarks measured."""

import platform
import statistics
from collections.abc import Sequence

import psutil
from disturbance import TOLERATED


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def table(*head: str) -> None:
    print()
    row(*head)
    row(*("---" for _ in head))


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, str]:
    """Return the median of the rounds' ratios, and its printed form."""
    each = sorted(one / other for one, other in zip(ours, theirs, strict=True))
    median = statistics.median(each)
    return median, f"{median:.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def mebibytes(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def verdict(*, reached: bool) -> str:
    return "reached" if reached else "missed"


def judged(*others: float, reached: bool) -> str:
    """Return a verdict, unless other processes took too much of the machine to judge."""
    return verdict(reached=reached) if max(others) <= TOLERATED else "not judged: disturbed"


def machine() -> str:
    """Describe the machine that the figures were measured on."""
    return (
        f"{psutil.cpu_count()} cores ({platform.machine()}), {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )
