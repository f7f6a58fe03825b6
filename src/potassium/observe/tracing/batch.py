"""A batch as it is traced."""

from opentelemetry.trace import Span, Status, StatusCode

__all__ = ["Batch"]


class Batch:
    """The span of a batch, which ends with the last of its jobs.

    Begun on the GPU thread; then it belongs to the event loop.
    """

    __slots__ = ("_ends_at", "_failed", "_left", "_size", "span")

    def __init__(self, span: Span, size: int) -> None:
        self.span = span
        self._left = self._size = size
        self._failed = 0
        self._ends_at = 0

    def leave(self, ended_at: int, *, failed: bool) -> None:
        """Note that one of its jobs has run, until ``ended_at``, in nanoseconds of the epoch."""
        self._left -= 1
        self._failed += failed
        self._ends_at = max(self._ends_at, ended_at)
        if self._left:
            return
        if self._failed:
            self.span.set_attribute("potassium.batch.failed", self._failed)
        if self._failed == self._size:
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.end(self._ends_at)
