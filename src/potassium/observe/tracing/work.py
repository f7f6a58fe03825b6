"""Attempts at background jobs, as they are traced."""

import orjson
from opentelemetry import context as contexts
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)

from potassium.jobs.attempt import Attempt
from potassium.jobs.outcome import Cancelled, Done, Failed, Outcome, Work
from potassium.observe.tracing.attributes import CODE, HANDLER, MESSAGE, messaging
from potassium.observe.tracing.call import Call
from potassium.observe.tracing.headers import continued
from potassium.observe.tracing.spans import Spans, fail, harmless

__all__ = ["TracedWork"]


class TracedWork:
    """Runs jobs with ``work``, each attempt in a trace of its own that is linked to its submit.

    A job may run hours after its submit, and several times, so it would keep the trace of a
    request open, and change it after the fact. By the conventions for messaging, what processes a
    message is linked to what sent it, and may or may not be its child.

    The span stays the current one of the task, so that the webhook about the job, which is
    made after the attempt, belongs to the same trace.
    """

    def __init__(self, work: Work, spans: Spans) -> None:
        self.lanes = work.lanes
        self.spans = spans
        self._work = work

    async def run(self, attempt: Attempt) -> Outcome:
        """Run a job and return its outcome; never raise because of the handler."""
        calls: list[Call] = []
        self._begin(attempt, calls)
        outcome: Outcome | None = None
        try:
            outcome = await self._work.run(attempt)
        except BaseException as error:
            for call in calls:
                self._broke(call, error)
            raise
        for call in calls:
            self._end(call, outcome)
        return outcome

    @harmless
    def _begin(self, attempt: Attempt, calls: list[Call]) -> None:
        job = attempt.job
        context = continued(dict(job.headers), contexts.get_current())
        submit = get_current_span(context).get_span_context()
        call = self.spans.begin(
            f"process {job.handler}",
            set_span_in_context(INVALID_SPAN, context),
            SpanKind.CONSUMER,
            {
                HANDLER: job.handler,
                **messaging("process", "process", job.handler),
                MESSAGE: job.id,
                "potassium.job.attempt": job.attempts,
                "potassium.request.id": job.request_id,
            },
            links=[Link(submit)] if submit.is_valid else [],
        )
        calls.append(call)
        call.enter(for_good=True)

    @harmless
    def _end(self, call: Call, outcome: Outcome) -> None:
        how = type(outcome)
        names = {Done: "succeeded", Failed: "failed", Cancelled: "cancelled"}
        call.span.set_attribute("potassium.job.outcome", names.get(how, "put off"))
        if isinstance(outcome, Failed):
            code = str(orjson.loads(outcome.error).get("code", ""))
            call.span.set_attributes({CODE: code, "error.type": code})
            call.span.set_status(Status(StatusCode.ERROR))
        call.end(self.spans.clock())

    @harmless
    def _broke(self, call: Call, error: BaseException) -> None:
        if isinstance(error, Exception):
            fail(call.span, error)
        call.end(self.spans.clock())
