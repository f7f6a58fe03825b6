"""Calls that Python code makes in the process, as they are traced."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from opentelemetry import context as contexts
from opentelemetry.trace import SpanKind

from potassium.observe.tracing.attributes import HANDLER, messaging
from potassium.observe.tracing.spans import Attributes, Spans, fail, harmless

if TYPE_CHECKING:
    from potassium.observe.tracing.call import Call

__all__ = ["InProcess", "call_of", "submit_of"]


class InProcess(NamedTuple):
    """What the span of such a call says."""

    name: str
    kind: SpanKind
    attributes: Attributes
    ends_with_job: bool


def call_of(path: str) -> InProcess:
    """Return that of a call of the handler at ``path``."""
    return InProcess(f"call {path}", SpanKind.INTERNAL, {HANDLER: path}, ends_with_job=True)


def submit_of(path: str) -> InProcess:
    """Return that of submitting a background job."""
    attributes = {HANDLER: path, **messaging("submit", "send", path)}
    return InProcess(f"submit {path}", SpanKind.PRODUCER, attributes, ends_with_job=False)


class Traced(AbstractContextManager["Traced"]):
    """Makes a span, a child of the current one, that is current inside of the context.

    The span of a call ends when the engine says that the call is over; if it was never admitted,
    and that of a job, ends with the context.
    """

    def __init__(self, spans: Spans, what: InProcess) -> None:
        self.spans = spans
        self._what = what
        self._call: Call | None = None

    def __enter__(self) -> Self:
        """Begin the span."""
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the span, and end it if nobody else does."""
        self._exit(error)

    @harmless
    def _enter(self) -> None:
        name, kind, attributes, ends_with_job = self._what
        parent = contexts.get_current()
        self._call = self.spans.begin(name, parent, kind, attributes, ends_with_job=ends_with_job)
        self._call.enter()

    @harmless
    def _exit(self, error: BaseException | None) -> None:
        call = self._call
        if call is None:
            return
        call.leave()
        if error is not None and not call.has_ended:
            if isinstance(error, Exception):
                fail(call.span, error)
            call.end(self.spans.clock())
        elif not call.ends_with_job:
            call.end(self.spans.clock())
