"""How calls are combined into batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Batch"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How calls of one handler are combined into batches; it runs once for each batch.

    A batch is dispatched as soon as no more calls are expected, and at the latest ``max_delay``
    after its first call, if the GPU thread is free then.

    Attributes:
        max_size: maximum number of items in a batch.
        max_delay: maximum seconds that an item waits for others while the GPU thread is idle.
        cost: called with an item, off the GPU thread; returns the cost of running it, such as its
            number of tokens. Items of similar cost are batched together.
        max_cost: maximum cost of a batch, which is its number of items times the cost of its
            costliest item, because of padding. An item that costs more runs alone.

    Raises:
        UsageError: a value is invalid.

    """

    max_size: int = 32
    max_delay: float = 0.005
    cost: Callable[[Any], float] | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("max_size", self.max_size)
        if self.max_delay != 0:
            check_seconds("max_delay", self.max_delay)
        if self.cost is not None and not callable(self.cost):
            raise UsageError(f"cost={self.cost!r} must be a function of an item.")
        if self.max_cost is not None:
            if self.cost is None:
                raise UsageError("max_cost= needs cost=, a function of an item.")
            check_seconds("max_cost", self.max_cost, "a number")
