"""How long the jobs of one kind take, measured."""

__all__ = ["ServiceTime"]

SMOOTHING = 0.1  # weight of the newest measurement in the mean
RISE = 1.05  # the floor rises by this factor where a measurement lies above it


class ServiceTime:
    """Running figures of how long a job takes, in seconds.

    ``mean`` is an exponentially weighted mean: what a caller has to wait. ``floor`` follows the
    shortest measurements: what the work itself takes, free of the time that a thread spends
    waiting for the GIL, which a mean cannot tell apart. Both are None before the first job.

    Written by the one thread that runs the jobs; read from any.
    """

    __slots__ = ("floor", "mean")

    def __init__(self) -> None:
        """Start with nothing measured."""
        self.mean: float | None = None
        self.floor: float | None = None

    def add(self, seconds: float) -> None:
        """Take one measurement in."""
        mean, floor = self.mean, self.floor
        if mean is None or floor is None:
            self.mean = self.floor = seconds
            return
        self.mean = mean + SMOOTHING * (seconds - mean)
        risen = floor * RISE
        self.floor = min(risen, seconds)
