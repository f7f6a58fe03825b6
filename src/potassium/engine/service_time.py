"""How long the jobs of one kind take, measured."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ServiceTime"]

SMOOTHING = 0.1  # weight of the newest measurement in the mean
EARLY = 10  # measurements that the first is compared with
RISE = 1.05  # the floor rises by at most this factor per measurement above it


class ServiceTime:
    """Running figures of how long a job takes, in seconds.

    ``mean`` is an exponentially weighted mean: how long a caller has to wait. ``floor`` follows the
    shortest measurements: how long the work itself takes, without the time that a thread spends
    waiting for the GIL, which a mean cannot separate. Both are None before the first job.

    The first job often takes longer: it is kept as ``first``, and compared with ``later``, the mean
    of the ``EARLY`` jobs after it, once these are over. ``when_known`` is then called with both and
    with ``EARLY``, on the thread that runs the jobs.

    Written by the one thread that runs the jobs; read from any.
    """

    __slots__ = ("_early", "_left", "first", "floor", "later", "mean", "when_known")

    def __init__(self) -> None:
        self.when_known: Callable[[float, float, int], object] | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew, as before the first job."""
        self.mean: float | None = None
        self.floor: float | None = None
        self.first: float | None = None
        self.later: float | None = None
        self._early = 0.0
        self._left = EARLY

    def add(self, seconds: float) -> None:
        """Add one measurement."""
        mean, floor = self.mean, self.floor
        if mean is None or floor is None:
            self.mean = self.floor = self.first = seconds
            return
        if self._left:
            self._note_early(seconds)
        self.mean = mean + SMOOTHING * (seconds - mean)
        risen = floor * RISE
        self.floor = min(risen, seconds)

    def _note_early(self, seconds: float) -> None:
        self._early += seconds
        self._left -= 1
        if not self._left:
            self.later = self._early / EARLY
            if self.when_known is not None and self.first is not None:
                self.when_known(self.first, self.later, EARLY)
