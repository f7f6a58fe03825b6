"""How much of the machine others take while something is measured."""

import resource
import time

import psutil
from serving import Server

# Where others take more of the machine than this, a figure is no figure.
TOLERATED = 0.05

LOOK = 0.5  # seconds


class Others:
    """What neither this process, nor those it waited for, nor a server took, since it was made.

    Two threads of torch wait for each other all the time: a third process that wants one of two
    cores makes them many times slower, and a figure measured beside it says nothing.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.monotonic()
        self._taken = self._by_all() - self._by_us()

    def share(self) -> float:
        """Return their share of the time of all cores."""
        all_there_was = (time.monotonic() - self._began) * (psutil.cpu_count() or 1)
        return max(0.0, (self._by_all() - self._by_us() - self._taken) / all_there_was)

    @classmethod
    def wait_for_quiet(cls, server: Server, seconds: float) -> None:
        """Return as soon as others take little, or after so many seconds."""
        end = time.monotonic() + seconds
        share = 1.0
        while share > TOLERATED and time.monotonic() < end:
            others = cls(server)
            time.sleep(LOOK)
            share = others.share()

    def _by_all(self) -> float:
        times = psutil.cpu_times()
        return float(times.user + times.nice + times.system + times.irq + times.softirq)

    def _by_us(self) -> float:
        ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        theirs = [
            process.cpu_times()
            for process in (self._server.seen, *self._server.seen.children(recursive=True))
        ]
        return sum(one.ru_utime + one.ru_stime for one in ours) + sum(
            one.user + one.system for one in theirs
        )
