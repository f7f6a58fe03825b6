"""How long the jobs of one kind take, measured."""

__all__ = ["ServiceTime"]

SMOOTHING = 0.1  # weight of the newest measurement in the mean
RISE = 1.05  # the floor rises by at most this factor per measurement above it


class ServiceTime:
    """Running figures of how long a job takes, in seconds.

    ``mean`` is an exponentially weighted mean: how long a caller has to wait. ``floor`` follows the
    shortest measurements: how long the work itself takes, without the time that a thread spends
    waiting for the GIL, which a mean cannot separate. Both are None before the first job.

    Written by the one thread that runs the jobs; read from any.
    """

    __slots__ = ("floor", "mean")

    def __init__(self) -> None:
        self.mean: float | None = None
        self.floor: float | None = None

    def add(self, seconds: float) -> None:
        """Add one measurement."""
        mean, floor = self.mean, self.floor
        if mean is None or floor is None:
            self.mean = self.floor = seconds
            return
        self.mean = mean + SMOOTHING * (seconds - mean)
        risen = floor * RISE
        self.floor = min(risen, seconds)
