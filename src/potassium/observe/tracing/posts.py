"""Attempts to deliver webhooks, as they are traced."""

from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

from potassium.observe.tracing.attributes import MESSAGE, of_post
from potassium.observe.tracing.call import Call
from potassium.observe.tracing.headers import continued, written
from potassium.observe.tracing.spans import Spans, fail, harmless
from potassium.webhooks.model import Delivery, DeliveryAttempt

if TYPE_CHECKING:
    from potassium.webhooks.deliverer import Posting  # imports httpx

__all__ = ["TracedPosting"]


class TracedPosting:
    """Posts webhooks with ``post``, each attempt in a span by the conventions for HTTP clients.

    Its parent is the span that the stored headers name, however long ago that has ended. The
    receiver is told the span of the attempt, so that its own spans are below that.
    """

    def __init__(self, post: "Posting", spans: Spans) -> None:
        self.spans = spans
        self._post = post

    async def __call__(self, delivery: Delivery) -> DeliveryAttempt:
        """Make one attempt."""
        begun: list[tuple[Call, Delivery]] = []
        if self.spans.may_record:
            self._begin(delivery, begun)
        if not begun:
            return await self._post(delivery)
        call, sent = begun[0]
        try:
            attempt = await self._post(sent)
        except BaseException as error:
            self._broke(call, error)
            raise
        self._end(call, attempt)
        return attempt

    async def aclose(self) -> None:
        """Close all connections."""
        await self._post.aclose()

    @harmless
    def _begin(self, delivery: Delivery, begun: list[tuple[Call, Delivery]]) -> None:
        stored = dict(delivery.trace)
        attributes = of_post(delivery)
        if delivery.job_id is not None:
            attributes[MESSAGE] = delivery.job_id
        call = self.spans.begin("POST", continued(stored, Context()), SpanKind.CLIENT, attributes)
        trace = tuple((stored | dict(written(call.context))).items())
        call.enter()
        begun.append((call, replace(delivery, trace=trace)))

    @harmless
    def _end(self, call: Call, attempt: DeliveryAttempt) -> None:
        call.leave()
        if attempt.status is not None:
            call.span.set_attribute("http.response.status_code", attempt.status)
        if attempt.error is not None:
            call.span.set_attribute("error.type", str(attempt.status or "no_answer"))
            call.span.set_status(Status(StatusCode.ERROR, attempt.error))
        call.end(self.spans.clock())

    @harmless
    def _broke(self, call: Call, error: BaseException) -> None:
        call.leave()
        if isinstance(error, Exception):
            fail(call.span, error)
        call.end(self.spans.clock())
