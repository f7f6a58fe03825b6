"""Measure while other processes leave the machine alone.

The two threads of torch wait for each other all the time. A third process that wants one of the two
cores makes them many times slower, whatever is being measured.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

Result = TypeVar("Result")

# If other processes take a larger share of the machine than this, a figure does not count.
TOLERATED = 0.05

LOOK = 0.5  # seconds


class Others:
    """The CPU time that other processes have taken since this object was created.

    This process and the children that it has waited for are not counted.

    Args:
        ours: more processes that are not counted, including their children.

    """

    def __init__(self, *ours: psutil.Process) -> None:
        self._ours = ours
        self._began = time.monotonic()
        self._taken = self._by_all() - self._by_us()

    def share(self) -> float:
        """Return the other processes' share of the time of all cores."""
        all_there_was = (time.monotonic() - self._began) * (psutil.cpu_count() or 1)
        return max(0.0, (self._by_all() - self._by_us() - self._taken) / all_there_was)

    def _by_all(self) -> float:
        times = psutil.cpu_times()
        return float(times.user + times.nice + times.system + times.irq + times.softirq)

    def _by_us(self) -> float:
        ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        theirs = [
            process.cpu_times()
            for parent in self._ours
            for process in (parent, *parent.children(recursive=True))
        ]
        return sum(one.ru_utime + one.ru_stime for one in ours) + sum(
            one.user + one.system for one in theirs
        )


class Patience:
    """Waits until other processes leave the machine alone, and measures again if they did not.

    Args:
        seconds: the total time for waiting and for measuring again.

    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def measure(self, take: Callable[[], Result], *ours: psutil.Process) -> tuple[Result, float]:
        """Return the least disturbed result, and the share that other processes took meanwhile."""
        tries: list[tuple[Result, float]] = []
        while True:
            began = time.monotonic()
            self._wait(*ours)
            waited = time.monotonic() - began
            others = Others(*ours)
            tries.append((take(), others.share()))
            share = tries[-1][1]
            self._left -= time.monotonic() - began if share > TOLERATED else waited
            if share <= TOLERATED or self._left <= 0:
                return min(tries, key=lambda one: one[1])
            print(f"Others took {share:.0%}: once more", file=sys.stderr)

    def _wait(self, *ours: psutil.Process) -> None:
        end = time.monotonic() + self._left
        share = 1.0
        while share > TOLERATED and time.monotonic() < end:
            others = Others(*ours)
            time.sleep(LOOK)
            share = others.share()
