"""A span for each request."""

import sys

from opentelemetry import context as contexts
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    format_trace_id,
    get_current_span,
)
from starlette.routing import Route

from potassium.config import Traces
from potassium.errors import ClientLeft, StreamBroken
from potassium.http.exchange import Exchange
from potassium.http.request_id import request_id_of
from potassium.observe.tracing.attributes import CODE, HANDLER, METHODS, of_request
from potassium.observe.tracing.call import Call
from potassium.observe.tracing.headers import continued
from potassium.observe.tracing.spans import Attributes, Spans, fail, harmless

__all__ = ["RequestSpans"]

CLIENT_ERROR, SERVER_ERROR = 400, 500


class RequestSpans:
    """Makes a span for each request, by the conventions for HTTP servers.

    It continues the trace that the client's headers name. Under an instrumentation that has made a
    span for the same request already, as where the app is mounted, it is a child of that one, and
    of kind INTERNAL.
    """

    def __init__(self, spans: Spans, options: Traces) -> None:
        self.spans = spans
        self._options = options

    @harmless
    def began(self, exchange: Exchange) -> None:
        """Begin the span; it is the current one of all that serves the request."""
        if exchange.is_quiet and not self._options.health:
            return
        scope = exchange.scope
        context = current = contexts.get_current()
        kind = SpanKind.INTERNAL
        if not get_current_span(context).get_span_context().is_valid:
            context, kind = continued(scope["headers"], context), SpanKind.SERVER
        attributes: Attributes = {}
        if self.spans.may_record:
            attributes = of_request(scope)
            if exchange.handler:
                attributes |= _of_handler(exchange)
        elif context is current:
            return  # there is nothing to pass on either
        began_at = exchange.began_at
        name = _name(scope["method"], attributes)
        call = self.spans.begin(name, context, kind, attributes, began_at=began_at)
        exchange.trace = call
        call.enter()
        made = call.span.get_span_context()
        if made.is_valid:
            exchange.trace_id = format_trace_id(made.trace_id)

    @harmless
    def ended(self, exchange: Exchange) -> None:
        """End the span, with what has become of the request."""
        call = exchange.trace
        if not isinstance(call, Call):
            return
        raised = sys.exception()
        call.leave()
        if call.is_recorded:
            _describe(call.span, exchange)
            _judge(call.span, exchange, raised)
        call.end(exchange.ended_at)


def _of_handler(exchange: Exchange) -> Attributes:
    root = exchange.scope.get("root_path", "")
    return {"http.route": root + exchange.handler, HANDLER: exchange.handler}


def _name(method: str, attributes: Attributes) -> str:
    name, route = method if method in METHODS else "HTTP", attributes.get("http.route")
    return f"{name} {route}" if isinstance(route, str) else name


def _describe(span: Span, exchange: Exchange) -> None:
    scope = exchange.scope
    found: Attributes = {"potassium.request.id": request_id_of(scope)}
    if exchange.handler:
        found |= _of_handler(exchange)
    elif isinstance(route := scope.get("route"), Route):
        found["http.route"] = scope.get("root_path", "") + route.path
    if exchange.code:
        found[CODE] = exchange.code
    span.set_attributes(found)
    span.update_name(_name(scope["method"], found))
    if exchange.status:
        span.set_attribute("http.response.status_code", exchange.status)


def _judge(span: Span, exchange: Exchange, raised: BaseException | None) -> None:
    """Set the status: an error of the server's, or a stream that broke, but nothing of a client's.

    What a handler raised is recorded with its run; here, only what nobody has answered.
    """
    code, status = exchange.code, exchange.status
    is_broken = status < CLIENT_ERROR and code not in ("", ClientLeft.code)
    if isinstance(raised, Exception) and not isinstance(raised, StreamBroken):
        fail(span, raised)
    elif status >= SERVER_ERROR or is_broken:
        span.set_status(Status(StatusCode.ERROR))
        span.set_attribute("error.type", code or str(status))
