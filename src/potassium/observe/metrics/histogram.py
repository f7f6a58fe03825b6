"""A histogram that costs little to add to."""

from bisect import bisect_left

__all__ = ["SECONDS", "Histogram"]

# From a millisecond to ten minutes: the upper bounds of the buckets.
SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


class Histogram:
    """How many values fell below each of some bounds, and their sum.

    Prometheus's own takes a lock for each value; this one belongs to the event loop.

    Args:
        bounds: the upper bounds of the buckets, inclusive, in rising order, without infinity.

    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
