"""What a handler yields to make a step together with other streams: ``yield Step(row)``."""

from typing import Generic, TypeVar

from potassium.errors import UsageError

__all__ = ["Step", "StepError"]

RowT = TypeVar("RowT")


class Step(Generic[RowT]):
    """What a handler yields to join the next run of its ``step=`` function.

    ::

        token = yield Step(row)

    Nothing is sent to the client. The value of the expression is the function's result for this
    row; where that is an exception, it is raised here. If the client leaves, the deadline passes or
    the server stops, the generator is closed here, and its ``finally`` runs.

    Args:
        row: what the function finds in its list.
        cost: what the row adds to the cost of its step, such as its number of tokens; counted if
            the handler has ``rows=Rows(max_cost=...)``, or when memory runs out.

    Raises:
        UsageError: the cost is not a number above 0.

    """

    __slots__ = ("cost", "row")

    def __init__(self, row: RowT, *, cost: float = 1) -> None:
        if (
            isinstance(cost, bool)
            or not isinstance(cost, int | float)
            or not 0 < cost < float("inf")
        ):
            raise UsageError(f"Step(cost={cost!r:.40}) must be a number above 0.")
        self.row = row
        self.cost = cost


class StepError(Exception):
    """A ``step=`` function has raised, and so failed every row that it was given.

    It is raised at the ``yield Step(...)`` of each; what the function raised is its ``__cause__``.
    """
