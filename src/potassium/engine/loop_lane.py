"""Jobs that run on the event loop: those of ``async def`` handlers."""

import asyncio
import time
from collections.abc import Callable

from potassium.engine.job import Failure, Job, Operation
from potassium.engine.queue import JobQueue
from potassium.errors import DeadlineExceeded, Draining

__all__ = ["LoopLane"]


class LoopLane:
    """Runs one operation's jobs on the event loop, ``operation.concurrency`` at a time.

    It has a queue of its own, so that jobs of the GPU thread and of other lanes do not stand in
    its way, nor it in theirs.
    """

    def __init__(
        self,
        operation: Operation,
        jobs: JobQueue,
        report: Callable[[Job], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Drain ``jobs``; ``report`` is called with each job that has its outcome."""
        self.jobs = jobs
        self._operation = operation
        self._report = report
        self._clock = clock

    async def run(self) -> None:
        """Run jobs one after another for ever; call it once for each place in the lane.

        Cancellation fails the job at hand with ``Draining`` and leaves the queue as it is.
        """
        while True:
            job = await self.jobs.get()
            started = self._clock()
            if job.is_unwanted(started):
                job.call_off(DeadlineExceeded())  # where it is not called off already
                continue
            # A task of its own, so that a caller who leaves can call off this job alone, and a
            # handler that cancels itself does not end the lane.
            task = asyncio.ensure_future(self._outcome(job))
            job.future.add_done_callback(lambda _, task=task: task.cancel())  # type: ignore[misc]
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.wait({task})
                job.outcome = Failure(Draining("The server stopped before the call was done."))
                self._report(job)
                raise
            if not task.cancelled():  # else it was called off before its first step
                job.outcome = task.result()
            job.argument = None  # the request refers to the job, and not the other way any more
            self._operation.service_time.add(self._clock() - started)
            self._report(job)

    async def _outcome(self, job: Job) -> object:
        try:
            return await self._operation.run(job.argument)
        except BaseException as error:  # noqa: BLE001 - kept as the outcome, whatever it is
            return Failure(error)
