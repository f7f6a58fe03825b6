"""Jobs that run on the event loop: those of ``async def`` handlers."""

import asyncio
import time
from collections.abc import Callable

from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.queue import JobQueue
from potassium.engine.steps import AsyncSteps
from potassium.engine.stream import Stream
from potassium.errors import DeadlineExceeded, Draining

__all__ = ["LoopWorker"]


class LoopWorker:
    """Runs one operation's jobs on the event loop, ``operation.concurrency`` at a time.

    Such a lane has a queue of its own, so that its jobs and those of the GPU thread and of other
    lanes do not block each other. A job that streams keeps its place in the lane until it ends.

    Args:
        report: called with each job that has its outcome, unless it streams.

    """

    def __init__(
        self,
        operation: Operation,
        jobs: JobQueue,
        report: Callable[[Job], None],
        streams: Bridge[Stream[Job]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs = jobs
        self._operation = operation
        self._report = report
        self._streams = streams
        self._clock = clock

    async def run(self) -> None:
        """Run jobs one after another forever; call this once for each place in the lane.

        Cancellation fails the current job with ``Draining`` and leaves the queue as it is.
        """
        while True:
            await self._run_next()

    async def _run_next(self) -> None:
        job = await self.jobs.get()
        started = self._clock()
        if job.is_unwanted(started):
            job.call_off(DeadlineExceeded())  # if it is not called off already
            return
        job.began_at = started
        # A task of its own, so that a caller that leaves can call off this job alone, and a
        # handler that cancels itself does not end the lane.
        # In a copy of the job's context, in which the handler may keep what refers to the job.
        task = asyncio.get_running_loop().create_task(
            self._outcome(job), name=job.operation.name, context=job.context.copy()
        )
        job.interrupt = task.cancel
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            self._end(job, Failure(Draining("The server stopped before the call finished.")))
            raise
        # A task that was cancelled before its first step has no result.
        self._end(job, None if task.cancelled() else task.result())
        self._operation.service_time.add(self._clock() - started)

    def _end(self, job: Job, outcome: object) -> None:
        job.ended_at = self._clock()
        job.interrupt = None  # the task, which is over
        if job.stream is not None:
            job.drop_input()
            job.stream.end(outcome if isinstance(outcome, Failure) else None)
        else:
            job.outcome = outcome
            self._report(job)

    async def _outcome(self, job: Job) -> object:
        try:
            outcome = await self._operation.run(job)
            if isinstance(outcome, AsyncSteps):
                await self._stream(job, outcome)
        except BaseException as error:  # noqa: BLE001 - kept as the outcome, whatever it is
            return Failure(error)
        return outcome

    CALL = _outcome.__code__  # what the task of each of its calls runs

    async def _stream(self, job: Job, steps: AsyncSteps) -> None:
        stream = job.stream = Stream(job, self._streams)
        try:
            while job.called_off is None:
                stream.push(await steps.next())
                await asyncio.sleep(0)  # its chunks are sent even if it never waits itself
                await stream.room()
        except StopAsyncIteration:
            return
        finally:
            await steps.close()
