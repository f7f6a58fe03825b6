"""How many streams make a shared step together."""

from dataclasses import dataclass

from potassium.config.checks import check_count, check_seconds

__all__ = ["Rows"]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How many streams of one handler make its shared step together; see ``step=``.

    Attributes:
        max_size: maximum number of rows in a step; all that wait by default.
        max_cost: maximum cost of a step, which is its number of rows times the cost of its
            costliest row (``Step(row, cost=...)``), because of padding. A row that costs more goes
            alone. No limit by default.

    Raises:
        UsageError: a value is invalid.

    """

    max_size: int | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if self.max_size is not None:
            check_count("max_size", self.max_size)
        if self.max_cost is not None:
            check_seconds("max_cost", self.max_cost, "a number")
