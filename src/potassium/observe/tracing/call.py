"""One call as it is traced: its span, and what is known of it so far."""

from contextvars import Context as Variables
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import Span, set_span_in_context

if TYPE_CHECKING:
    from potassium.observe.tracing.batch import Batch

__all__ = ["Call", "call_in"]

# The call that the running code belongs to. A job carries it in its context.
_CALL: ContextVar["Call"] = ContextVar("traced_call")


class Call:
    """A request, a call in the process, or an attempt at a background job, as it is traced.

    Attributes:
        span: the span of the call, the parent of those of its steps.
        context: the context with that span in it.
        is_recorded: whether anything is kept of the trace.
        ends_with_job: whether the span ends as soon as the call has its outcome; that of a request
            ends with the response, and that of a background job with the attempt.
        has_ended: whether the span has ended.
        has_waited: whether the spans of the steps before the run are made.
        batch: the batch that the call runs in, if it runs in one.

    """

    __slots__ = (
        "_offset",
        "_tokens",
        "batch",
        "context",
        "ends_with_job",
        "has_ended",
        "has_waited",
        "is_recorded",
        "span",
    )

    def __init__(self, span: Span, context: Context, offset: int, *, ends_with_job: bool) -> None:
        """Begin with a new span; ``offset`` is nanoseconds from monotonic time to the epoch."""
        self.span = span
        self.context = set_span_in_context(span, context)
        self.is_recorded = span.is_recording()
        self.ends_with_job = ends_with_job
        self.has_ended = False
        self.has_waited = False
        self.batch: Batch | None = None
        self._offset = offset
        self._tokens: tuple[Token[Context], Token[Call]] | None = None

    def at(self, monotonic: float) -> int:
        """Return a time in nanoseconds since the epoch."""
        return int(monotonic * 1e9) + self._offset

    def enter(self, *, for_good: bool = False) -> None:
        """Make this the call, and its span the current one, of the code that follows.

        ``for_good`` means for the rest of the task. Otherwise, ``leave`` must follow: until then,
        the call and the variables of the task refer to each other.
        """
        tokens = contexts.attach(self.context), _CALL.set(self)
        self._tokens = None if for_good else tokens

    def leave(self) -> None:
        """Undo ``enter``, in the same task."""
        if self._tokens is not None:
            (span, call), self._tokens = self._tokens, None
            _CALL.reset(call)
            contexts.detach(span)

    def end(self, monotonic: float) -> None:
        """End the span, once."""
        if not self.has_ended:
            self.has_ended = True
            self.span.end(self.at(monotonic))


def call_in(context: Variables) -> Call | None:
    """Return the call that a job's context belongs to; None if it is not traced."""
    return context.get(_CALL)
