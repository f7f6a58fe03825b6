"""A step that the streams of one operation make together."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from potassium.engine.batching import Ceiling
from potassium.engine.steps import Steps

__all__ = ["SharedStep"]


class SharedStep:
    """A step that the streams of one operation make together: one run for all that wait for it.

    Args:
        run: called with the steps of the streams that go together, and with ``ceiling``, which it
            keeps up to date; returns a result for each, an exception in place of one that fails.
        max_rows: maximum number of streams that go together.
        max_cost: maximum weight of those: their number times the cost of the costliest.
        begins_at_once: whether calling the handler does no more than making a generator, so that
            many calls may begin one after the other.

    Attributes:
        ceiling: the weight that the memory allows, as learned so far.

    """

    def __init__(
        self,
        run: Callable[[Sequence[Any], Ceiling], Sequence[Any]],
        *,
        max_rows: int,
        max_cost: float | None = None,
        begins_at_once: bool = True,
    ) -> None:
        self.run = run
        self.begins_at_once = begins_at_once
        self.ceiling = Ceiling()
        self._max_rows = max_rows
        self._max_cost = inf if max_cost is None else max_cost

    def count(self, waiting: Sequence[Steps]) -> int:
        """Return how many of those that wait go together, the first ones of them: at least one."""
        limit = min(self._max_cost, self.ceiling.value)
        costliest = 0.0
        for index, steps in enumerate(waiting[: self._max_rows]):
            costliest = max(costliest, steps.cost)
            if index and (index + 1) * costliest > limit:
                return index
        return min(len(waiting), self._max_rows)
