"""Counts how the engine's jobs run and end, for metrics."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from potassium.engine import End, Failure, Job, Operation
from potassium.errors import ClientLeft, DeadlineExceeded, PotassiumError, WorkerFailed
from potassium.observe.metrics.handler import BatchMetrics, HandlerMetrics
from potassium.observe.metrics.histogram import SECONDS

__all__ = ["CallMetrics"]

SUCCEEDED = End.SUCCEEDED  # a member of an enum takes long to look up

# What the GPU thread may notice before the loop has called the job off for it.
NOTICED = (DeadlineExceeded, WorkerFailed)
FAILED = "failed"


class CallMetrics:
    """Counts what the engine reports. Belongs to the event loop, except for batches.

    Attributes:
        handlers: the figures of each handler, by path.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.handlers: dict[str, HandlerMetrics] = {}
        self._of: dict[Operation, HandlerMetrics | None] = {}

    def begin(self, operations: Iterable[Operation]) -> None:
        """Count jobs of these operations, those of handlers. Those of others do not count."""
        for operation in operations:
            figures = self.handlers.setdefault(operation.name, HandlerMetrics())
            if operation.batching is not None and figures.batches is None:
                figures.batches = BatchMetrics(by_cost=operation.batching.rule.cost is not None)
            self._of[operation] = figures

    def refused(self, operation: Operation, error: PotassiumError) -> None:
        """Count a call that is not admitted."""
        del error
        figures = self._figures(operation)
        if figures is not None:
            figures.outcomes["refused"] += 1

    def streams(self, job: Job) -> None:
        """Count a stream that begins."""
        figures = self._figures(job.operation)
        if figures is not None and job.stream is not None and job.stream.began_at is not None:
            figures.first_chunk.add(job.stream.began_at - job.admitted_at)
            if job.called_off is None:  # otherwise it may be closed already
                figures.streams.add(job)

    def ran(self, jobs: Sequence[Job]) -> None:
        """Count jobs that have run."""
        operation: Operation | None = None
        figures: HandlerMetrics | None = None
        for job in jobs:
            if job.began_at is None or job.ended_at is None:
                continue
            if job.operation is not operation:
                operation = job.operation
                figures = self._figures(operation)
            if figures is None:
                continue  # it is init
            began_at = job.began_at
            ready_at = job.admitted_at if job.preparation is None else job.preparation[1]
            # As Histogram.add does: for what is done for every call, a call costs as much again.
            waited, queue, run = began_at - ready_at, figures.queue, figures.run
            queue.counts[bisect_left(SECONDS, waited)] += 1
            queue.sum += waited
            seconds = job.ended_at - began_at if job.stream is None else job.run_time or 0.0
            run.counts[bisect_left(SECONDS, seconds)] += 1
            run.sum += seconds
            if job.called_off is not None:
                figures.note_waste(job)

    def closed(self, job: Job, end: End) -> None:
        """Count a call that has ended."""
        operation = job.operation
        figures = self._of.get(operation) or self._figures(operation)
        if figures is None:
            return
        if end is SUCCEEDED:
            figures.succeeded += 1
        else:
            self._note_other(figures, job, _outcome(job, end))
        if job.preparation is not None:
            figures.prepare.add(job.preparation[1] - job.preparation[0])
        if job.finishing is not None:
            figures.finish.add(job.finishing[1] - job.finishing[0])
        if job.stream is not None:
            figures.end_stream(job)

    def begin_batch(self, jobs: Sequence[Job]) -> None:
        """Count a batch; called on the GPU thread, to which these figures belong."""
        figures = self._of.get(jobs[0].operation)
        if figures is not None and figures.batches is not None:
            figures.batches.add([job.cost for job in jobs])

    def _note_other(self, figures: HandlerMetrics, job: Job, outcome: str) -> None:
        """Count a call that did not succeed, and what was not counted as it never got any further.

        One that has left the queue without running has waited, too. One whose result was about to
        be finished or read, was run in vain.
        """
        figures.outcomes[outcome] += 1
        if job.began_at is None:
            if outcome != FAILED and _was_queued(job):
                figures.queue.add(self._clock() - job.queued_at)
        elif job.called_off is not None and _has_run(job):
            figures.note_waste(job)

    def _figures(self, operation: Operation) -> HandlerMetrics | None:
        """Return the figures of the handler that ``operation`` belongs to; None if there is none.

        A handler may have several operations: a job that may have crashed the server runs alone.
        """
        try:
            return self._of[operation]
        except KeyError:
            figures = self._of[operation] = self.handlers.get(operation.name)
            return figures


def _outcome(job: Job, end: End) -> str:
    """Return why a call did not succeed: what called it off, or that it has failed."""
    if job.called_off is not None:
        return job.called_off.code
    if end is not End.FAILED:
        return ClientLeft.code  # just as the result came
    failure = job.future.result() if job.stream is None else job.stream.failure
    if isinstance(failure, Failure) and isinstance(failure.error, NOTICED):
        return failure.error.code
    return FAILED


def _was_queued(job: Job) -> bool:
    return job.preparation is not None or not job.operation.is_prepared


def _has_run(job: Job) -> bool:
    """Return whether ``ran`` was told of a job that has begun to run."""
    if job.stream is not None:
        return job.stream.is_reported
    return job.in_pool or job.finishing is not None
