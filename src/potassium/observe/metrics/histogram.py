"""A histogram that costs little to add to."""

from bisect import bisect_left

__all__ = ["SECONDS", "Example", "Histogram"]

# From a millisecond to ten minutes: the upper bounds of the buckets.
SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)

# One value of a bucket: the value, when it was seen in monotonic seconds, and the ids of its
# request and of its trace, which may be empty.
Example = tuple[float, float, str, str]


class Histogram:
    """How many values fell below each of some bounds, and their sum.

    Prometheus's own takes a lock for each value; this one belongs to one thread, and may be read
    from any.

    Args:
        bounds: the upper bounds of the buckets, inclusive, in rising order, without infinity.

    Attributes:
        counts: how many values each bucket has; the last one has those above all bounds.
        sum: the sum of all values.
        examples: an example of each bucket that has one, by its number.
        wanted: for each bucket, whether its next value becomes its example: those are as new as
            the last time that somebody looked.

    """

    __slots__ = ("bounds", "counts", "examples", "sum", "wanted")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.examples: dict[int, Example] = {}
        self.wanted = [True] * len(self.counts)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def look(self) -> dict[int, Example]:
        """Return the examples, and want new ones."""
        self.wanted = [True] * len(self.counts)
        return self.examples
