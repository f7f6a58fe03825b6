"""Spans for the steps of calls, made from the times that jobs carry, and for batches."""

from asyncio import CancelledError
from collections.abc import Sequence

from opentelemetry import context as contexts
from opentelemetry.trace import Link, set_span_in_context

from potassium.engine import End, Failure, Job, Operation
from potassium.errors import DeadlineExceeded, PotassiumError, WorkerFailed
from potassium.observe.tracing.attributes import BATCH_SIZE, HANDLER
from potassium.observe.tracing.batch import Batch
from potassium.observe.tracing.call import Call, call_in
from potassium.observe.tracing.spans import Attributes, Spans, fail, harmless

__all__ = ["JobSpans"]


class JobSpans:
    """An observer of the engine. A step whose call is not recorded costs one look-up."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans

    def refused(self, operation: Operation, error: PotassiumError) -> None:
        """Do nothing: whoever made the call tells, and has no job."""

    @harmless
    def streams(self, job: Job) -> None:
        """Note when the first chunk arrived."""
        call, stream = call_in(job.context), job.stream
        if call is None or call.has_ended or stream is None:
            return
        at = stream.began_at
        if at is not None:
            call.span.add_event("first chunk", timestamp=call.at(at))
            call.span.set_attribute("gen_ai.response.time_to_first_chunk", at - job.admitted_at)

    def ran(self, jobs: Sequence[Job]) -> None:
        """Make the spans of jobs up to the end of their runs, also if their callers have left."""
        for job in jobs:
            call = call_in(job.context)
            if call is not None and call.is_recorded:
                self._ran(job, call)

    @harmless
    def _ran(self, job: Job, call: Call) -> None:
        began, ended = job.began_at, job.ended_at
        if began is None or ended is None:
            if call.batch is not None:  # it has run without this one
                call.batch.leave(call.at(self.spans.clock()), failed=False)
            return  # nobody wanted it any more; its caller is told, and then we are
        failure = job.outcome if job.stream is None else job.stream.failure
        error = failure.error if isinstance(failure, Failure) else None
        links, batch = [], call.batch
        if batch is not None:
            links.append(Link(batch.span.get_span_context()))
            batch.leave(call.at(ended), failed=error is not None)
        if job.called_off is not None and isinstance(error, CancelledError | PotassiumError):
            error = None  # that is how it was made to stop
        if not call.has_waited:
            self._waited(job, call, began)
        self.spans.step(
            call,
            "run",
            began,
            ended,
            {
                HANDLER: job.operation.name,
                BATCH_SIZE: job.batch_size,
                "potassium.run.seconds": job.run_time or ended - began,
            },
            links,
            error,
        )

    @harmless
    def closed(self, job: Job, end: End) -> None:
        """Make the spans of the steps after the run, and end that of a call in the process."""
        call = call_in(job.context)
        if call is None:
            return
        now = self.spans.clock()
        error = _error_of(job)
        if call.is_recorded:
            failure = error if _is_of_a_step(job, error) else None
            if not call.has_waited and job.began_at is None:
                self._waited(job, call, now, failure)
            if job.finishing is not None:
                self.spans.step(call, "finish", *job.finishing, error=failure)
            self._streamed(job, call, now)
        if call.ends_with_job:
            if end is not End.SUCCEEDED and error is not None:
                fail(call.span, error)
            call.end(now)

    def _waited(
        self, job: Job, call: Call, until: float, failure: BaseException | None = None
    ) -> None:
        """Make the spans of the steps before the run, which began or was given up at ``until``."""
        call.has_waited = True
        done = job.preparation
        if done is None and job.operation.is_prepared:
            self.spans.step(call, "prepare", job.admitted_at, until)
            return
        if done is not None:
            self.spans.step(call, "prepare", *done, error=failure)
        if done is None or failure is None:
            self.spans.step(call, "queue", job.queued_at, until)

    def _streamed(self, job: Job, call: Call, now: float) -> None:
        stream = job.stream
        if stream is not None and stream.began_at is not None:
            found: Attributes = {
                "potassium.stream.chunks": stream.chunks,
                "potassium.stream.stalls": stream.stalls,
            }
            self.spans.step(call, "stream", stream.began_at, now, found)

    @harmless
    def begin_batch(self, jobs: Sequence[Job]) -> None:
        """Begin the span of a batch, in the context that it is about to run in.

        It is a trace of its own, as it belongs to several. If nothing is kept of any of them,
        nothing is kept of it. If it never runs, and its jobs go to another one, it never ends.
        """
        calls = [call for job in jobs if (call := call_in(job.context)) is not None]
        recorded = [call for call in calls if call.is_recorded]
        if recorded:
            name = jobs[0].operation.name
            found: Attributes = {HANDLER: name, BATCH_SIZE: len(jobs)}
            start = jobs[0].began_at or self.spans.clock()
            span = self.spans.batch(f"batch {name}", recorded, found, start)
            batch = Batch(span, len(recorded))
            for call in recorded:
                call.batch = batch
            contexts.attach(set_span_in_context(span))
        elif calls:
            contexts.attach(calls[0].context)


def _is_of_a_step(job: Job, error: BaseException | None) -> bool:
    """Return whether a step has raised what a call ended with, and not whoever called it off."""
    return job.called_off is None and not isinstance(error, DeadlineExceeded | WorkerFailed)


def _error_of(job: Job) -> BaseException | None:
    """Return what a call ended with, if it did not succeed."""
    if job.called_off is not None:
        return job.called_off
    outcome = job.future.result() if job.future.done() and not job.future.cancelled() else None
    if job.stream is not None:
        outcome = job.stream.failure
    return outcome.error if isinstance(outcome, Failure) else None
