"""The rule by which calls of one operation are batched, and what it goes by."""

from math import inf
from typing import Any

from potassium.config import Batch
from potassium.engine.callers import Callers
from potassium.errors import UsageError

__all__ = ["Batching", "Ceiling"]

RECOVERY = 100  # batches that must fit before a larger one is tried again


class Ceiling:
    """How much of a batch fits into the accelerator's memory, as experience has it.

    Written on the GPU thread, read on the loop.
    """

    def __init__(self) -> None:
        self.value: float = inf
        self._fitted = 0

    def overflowed(self, fits: float) -> None:
        """Note that a batch did not fit, and that of it only parts of weight ``fits`` did."""
        self.value = fits
        self._fitted = 0

    def fitted(self, weight: float) -> None:
        """Note that a batch did; after many of about the ceiling's weight, allow twice as much."""
        if self.value < inf and weight > self.value / 2:
            self._fitted += 1
            if self._fitted >= RECOVERY:
                self._fitted = 0
                self.value *= 2


class Batching:
    """How the jobs of one operation become batches.

    Attributes:
        rule: what the app asked for.
        ceiling: what the memory allows; in items, or in cost where the rule has one.
        callers: how many call the operation.

    """

    def __init__(self, rule: Batch) -> None:
        self.rule = rule
        self.ceiling = Ceiling()
        self.callers = Callers()

    @property
    def limit(self) -> float:
        """The weight that a batch may have."""
        return min(self.rule.max_cost or inf, self.ceiling.value)

    def weight(self, size: int, cost: float) -> float:
        """Return the weight of a batch: its size, by cost padded to its costliest item."""
        return size if self.rule.cost is None else size * cost

    def cost_of(self, item: Any) -> float:
        """Return what ``item`` costs, as the rule says.

        Raises:
            UsageError: the rule's function returned something else than a number, 0 or more.

        """
        assert self.rule.cost is not None  # noqa: S101 - else all items cost the same
        cost = self.rule.cost(item)
        if hasattr(cost, "item"):
            cost = cost.item()  # a scalar of numpy's or torch's
        if not isinstance(cost, int | float) or not 0 <= cost < inf:
            raise UsageError(f"Batch(cost=...) returned {cost!r}; it must return a number >= 0.")
        return cost
