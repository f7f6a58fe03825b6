"""What is counted of an app for its metrics."""

from collections.abc import Sequence

from potassium.engine import Operation
from potassium.observe.metrics.calls import CallMetrics
from potassium.observe.metrics.loop_lag import LoopLag
from potassium.observe.metrics.requests import RequestMetrics

__all__ = ["Figures"]


class Figures:
    """What is counted of an app, from its creation on.

    Attributes:
        requests: HTTP requests.
        calls: what the engine reports.
        loop_lag: how late the event loop is, while the app runs.

    """

    def __init__(self) -> None:
        self.requests = RequestMetrics()
        self.calls = CallMetrics()
        self.loop_lag = LoopLag()

    def begin(self, operations: Sequence[Operation]) -> None:
        """Note that the app starts, with the operations of its handlers."""
        self.calls.begin(operations)
        for operation in operations:
            self.requests.begin(operation.name)
        self.loop_lag.begin()

    def end(self) -> None:
        """Note that the app stops."""
        self.loop_lag.end()
