"""How calls of one operation are batched, and the measurements behind it."""

from math import inf
from typing import Any

from potassium.config import Batch
from potassium.engine.callers import Callers
from potassium.errors import UsageError

__all__ = ["Batching", "Ceiling"]

LARGEST_COST = 1e100  # so that costs can be added up and multiplied; an int can be larger than that
RECOVERY = 100  # batches that must fit before a larger one is tried again


class Ceiling:
    """The maximum weight of a batch that fits into the accelerator's memory, as learned so far.

    Written on the GPU thread, read on the loop.
    """

    def __init__(self) -> None:
        self.value: float = inf
        self._fitted = 0

    def overflowed(self, fits: float) -> None:
        """Note that a batch did not fit, and that only parts of it of weight ``fits`` did."""
        self.value = fits
        self._fitted = 0

    def fitted(self, weight: float) -> None:
        """Note that a batch of ``weight`` fit; after many near the ceiling, double the ceiling."""
        if self.value < inf and weight > self.value / 2:
            self._fitted += 1
            if self._fitted >= RECOVERY:
                self._fitted = 0
                self.value *= 2


class Batching:
    """How the jobs of one operation become batches.

    Attributes:
        rule: the options that the app set.
        ceiling: the weight that the memory allows, in items, or in cost if the rule has a cost.
        callers: how many callers the operation has.

    """

    def __init__(self, rule: Batch) -> None:
        self.rule = rule
        self.ceiling = Ceiling()
        self.callers = Callers()

    @property
    def limit(self) -> float:
        """The maximum weight of a batch."""
        return min(self.rule.max_cost or inf, self.ceiling.value)

    def weight(self, size: int, cost: float) -> float:
        """Return the weight of a batch: its size, times its highest cost if the rule has a cost."""
        return size if self.rule.cost is None else size * cost

    def room(self, cost: float) -> int:
        """Return how many items of a cost a batch takes, at least 1."""
        size = self.rule.max_size
        if self.rule.cost is not None and self.limit < size * cost:
            size = int(self.limit / cost)
        return max(1, size)

    def cost_of(self, item: Any) -> float:
        """Return the cost of ``item`` by the rule's function.

        Raises:
            UsageError: the function did not return a number from 0 to ``LARGEST_COST``.

        """
        assert self.rule.cost is not None  # noqa: S101 - else all items cost the same
        cost = self.rule.cost(item)
        if hasattr(cost, "item"):
            cost = cost.item()  # a NumPy or torch scalar
        if not isinstance(cost, int | float) or not 0 <= cost <= LARGEST_COST:
            shown = f"{cost!r:.40}"
            raise UsageError(f"Batch(cost=...) returned {shown}; it must return a number >= 0.")
        return cost
