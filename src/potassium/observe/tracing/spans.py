"""Makes spans, and keeps from the engine what goes wrong with them."""

import functools
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue
from starlette.exceptions import HTTPException

from potassium.errors import PotassiumError, UsageError
from potassium.observe.logs.visible import without_middle
from potassium.observe.tracing.attributes import LONGEST
from potassium.observe.tracing.call import Call

__all__ = ["Attributes", "Spans", "fail", "harmless"]

Attributes = dict[str, AttributeValue]

SERVER_ERROR = 500

logger = logging.getLogger("potassium.traces")

P = ParamSpec("P")


class Spans:
    """Makes spans with the tracer that the process has configured, then or later.

    Args:
        clock: returns monotonic seconds, as the engine's does.
        wall: returns nanoseconds since the epoch.

    Attributes:
        clock: returns monotonic seconds.

    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.clock = clock
        self._wall = wall
        self._tracer = trace.get_tracer("potassium")
        self._has_failed = False

    @property
    def may_record(self) -> bool:
        """Whether spans may be recorded. Without a provider, as of the SDK, none is."""
        return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    def begin(  # noqa: PLR0913 - what a span has
        self,
        name: str,
        parent: Context,
        kind: SpanKind,
        attributes: Attributes,
        *,
        links: Sequence[Link] = (),
        began_at: float | None = None,
        ends_with_job: bool = False,
    ) -> Call:
        """Begin the span of a call, now or at a time in monotonic seconds.

        All its times go through one offset, which is taken now, so that they fit each other
        whatever happens to the clock of the machine.
        """
        now = self.clock()
        offset = self._wall() - int(now * 1e9)
        start = int((now if began_at is None else began_at) * 1e9) + offset
        span = self._tracer.start_span(name, parent, kind, attributes, links, start)
        return Call(span, parent, offset, ends_with_job=ends_with_job)

    def step(  # noqa: PLR0913, PLR0917 - what a span has
        self,
        call: Call,
        name: str,
        start: float,
        end: float,
        attributes: Attributes | None = None,
        links: Sequence[Link] = (),
        error: BaseException | None = None,
    ) -> None:
        """Make the span of a step that is over, from its times in monotonic seconds."""
        span = self._tracer.start_span(
            name, call.context, SpanKind.INTERNAL, attributes, links, call.at(start)
        )
        if error is not None:
            fail(span, error, at=call.at(end))
        span.end(call.at(end))

    def batch(self, name: str, calls: Sequence[Call], attributes: Attributes, start: float) -> Span:
        """Begin the span of a batch: a trace of its own, linked to its calls."""
        at = calls[0].at(start)
        links = [Link(call.span.get_span_context()) for call in calls]
        return self._tracer.start_span(name, Context(), SpanKind.INTERNAL, attributes, links, at)

    def failed(self) -> None:
        """Log, the first time, that something raised while a span was made."""
        if not self._has_failed:
            self._has_failed = True
            logger.exception(  # noqa: LOG004 - called while one is handled
                "a span could not be made, and no more is said of others like it"
            )


class HasSpans(Protocol):
    """Whoever makes spans."""

    spans: Spans


S = TypeVar("S", bound=HasSpans)


def harmless(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Let a method that makes ``self.spans`` never raise: traces must not break what they show."""

    @functools.wraps(method)
    def call(self: S, *args: P.args, **options: P.kwargs) -> None:
        try:
            method(self, *args, **options)
        except Exception:  # noqa: BLE001 - processors and samplers may be anybody's
            self.spans.failed()

    return call  # type: ignore[return-value] # for wraps(), self may be given by name


def fail(span: Span, error: BaseException, *, at: int | None = None) -> None:
    """Record what was raised, unless it is an answer that a client has caused, such as a 404."""
    if _status_of(error) < SERVER_ERROR or not span.is_recording():
        return
    kind, message = _type_of(error), _encodable(_message_of(error)[:LONGEST])
    shown = without_middle("".join(traceback.format_exception(error)))
    found: Attributes = {
        "exception.type": kind,
        "exception.message": message,
        "exception.stacktrace": _encodable(shown),
    }
    # Not record_exception(), which takes whatever str() returns, or raises.
    span.add_event("exception", found, at)
    span.set_status(Status(StatusCode.ERROR, message))
    span.set_attribute("error.type", kind)


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - of the app's __str__
        return ""


def _encodable(text: str) -> str:
    """Return ``text`` with halves of surrogate pairs as escapes.

    Names of files may have some. Exporters drop the whole batch of spans that such text is in.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _status_of(error: BaseException) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, PotassiumError) and not isinstance(error, UsageError):
        return error.status
    return SERVER_ERROR


def _type_of(error: BaseException) -> str:
    """Return the name of an exception's class, with its module unless that is built in."""
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
