"""What is counted and measured of calls."""

import math
from array import array
from collections import Counter
from collections.abc import Mapping, MutableSequence
from dataclasses import dataclass, field

__all__ = ["Figures", "Spread"]

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How measured times are spread, in seconds.

    Attributes:
        percentiles: by their number; each is one of the times (nearest rank).

    """

    mean: float
    percentiles: Mapping[int, float]
    max: float

    @classmethod
    def of(cls, times: MutableSequence[float]) -> "Spread | None":
        """Return the spread of ``times``; None if there are none."""
        if not times:
            return None
        ranked = sorted(times)
        return cls(
            mean=math.fsum(ranked) / len(ranked),
            percentiles={
                one: ranked[max(0, math.ceil(len(ranked) * one / 100) - 1)] for one in PERCENTILES
            },
            max=ranked[-1],
        )


@dataclass(kw_only=True)
class Figures:
    """What came of the calls in a span of time.

    Attributes:
        times: seconds that each call took that succeeded.
        firsts: seconds until the first chunk of each of these that was a stream.
        chunks: how many chunks these had.
        received: bytes of bodies.
        refused: how many calls the server did not admit, by code.
        retry_after: the seconds that it asked to wait, of each refusal that says so.
        failed: how many calls failed otherwise, by code, or by what happened.
        late: how many calls began late, because every connection was busy or the client was.
        unfinished: calls that had no answer at the end.
        oldest: seconds that the oldest of these had waited.
        seconds: the span of time.
        cpu: share of a core that the client used.
        is_cut: whether the measurement ended before its time.

    """

    times: "array[float]" = field(default_factory=lambda: array("d"))
    firsts: "array[float]" = field(default_factory=lambda: array("d"))
    chunks: int = 0
    received: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    retry_after: Counter[float] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    late: int = 0
    unfinished: int = 0
    oldest: float = 0.0
    seconds: float = 0.0
    cpu: float = 0.0
    is_cut: bool = False

    @property
    def ended(self) -> int:
        """How many calls have ended, in any way."""
        return len(self.times) + self.refused.total() + self.failed.total()
