"""The admitted jobs whose callers still wait, and counts of how calls ended."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from potassium.engine.job import Job
from potassium.engine.observer import End, Observer
from potassium.engine.operation import Operation
from potassium.errors import DeadlineExceeded, PotassiumError

__all__ = ["Counts", "OpenCalls"]


@dataclass(slots=True)
class Counts:
    """How many jobs have been admitted or refused since the start, and how they ended.

    Attributes:
        admitted: jobs that were admitted.
        refused: jobs that were not.
        succeeded: admitted jobs whose callers have the result.
        failed: admitted jobs whose operation raised.
        cancelled: admitted jobs that were called off.

    """

    admitted: int = 0
    refused: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class OpenCalls:
    """Keeps track of calls from admission until their callers have the whole outcome.

    Each call is opened once and closed once. Belongs to the event loop.

    Args:
        discard: removes a job that was called off from wherever it waits.
        observer: is told of each call that is refused or closed.

    Attributes:
        counts: the counts of all calls.

    """

    def __init__(
        self,
        discard: Callable[[Job], None],
        clock: Callable[[], float],
        observer: Observer | None = None,
    ) -> None:
        self.counts = Counts()
        self._observer = observer
        self._discard = discard
        self._clock = clock
        self._jobs: set[Job] = set()
        self._all_closed = asyncio.Event()

    def __bool__(self) -> bool:
        """Return whether anybody waits for a result."""
        return bool(self._jobs)

    def __len__(self) -> int:
        """Return how many callers wait."""
        return len(self._jobs)

    def __contains__(self, job: object) -> bool:
        """Return whether ``job`` was admitted, and its caller still waits."""
        return job in self._jobs

    def refused(self, operation: Operation, error: PotassiumError) -> PotassiumError:
        """Count a call that is not admitted; return ``error``, for the caller to raise."""
        self.counts.refused += 1
        if self._observer is not None:
            self._observer.refused(operation, error)
        return error

    def limit(self, job: Job, deadline: float) -> None:
        """Call ``job``, which is about to be opened, off at ``deadline``, in monotonic seconds.

        Raises:
            DeadlineExceeded: it has already passed.

        """
        left = deadline - job.admitted_at
        if left <= 0:
            raise self.refused(job.operation, DeadlineExceeded())
        job.timer = asyncio.get_running_loop().call_later(left, self._end_time, job)

    def limit_from_now(self, job: Job, seconds: float) -> None:
        """Call ``job`` off ``seconds`` from now, unless it was closed before."""
        if job in self._jobs and not job.is_over:
            job.timer = asyncio.get_running_loop().call_later(seconds, self._end_time, job)

    def open(self, job: Job) -> None:
        """Note that ``job`` was admitted."""
        self.counts.admitted += 1
        self._jobs.add(job)
        if job.operation.batching is not None:
            job.operation.batching.callers.came(self._clock())

    def call_off(self, job: Job, error: PotassiumError) -> None:
        """Settle ``job`` with ``error`` unless it is over; the call stays open for its caller."""
        if job.is_over and not job.future.cancelled():
            return
        job.call_off(error)
        self._discard(job)

    def call_off_all(self, error: Callable[[], PotassiumError]) -> None:
        """Call off every open job, each with an error of its own."""
        for job in list(self._jobs):
            self.call_off(job, error())

    def close(self, job: Job, *, succeeded: bool = False, cancelled: bool = False) -> None:
        """Note that nobody waits for ``job`` any more, and how it ended.

        If it did not succeed, it counts as cancelled if its caller was cancelled or it was called
        off, and as failed otherwise.
        """
        if succeeded:
            end = End.SUCCEEDED
            self.counts.succeeded += 1
        elif cancelled or job.called_off is not None:
            end = End.CANCELLED
            self.counts.cancelled += 1
        else:
            end = End.FAILED
            self.counts.failed += 1
        if job.timer is not None:
            job.timer.cancel()
        if job.operation.batching is not None:
            job.operation.batching.callers.went(self._clock())
        self._jobs.discard(job)
        if self._observer is not None:
            self._observer.closed(job, end)
        if not self._jobs:
            self._all_closed.set()

    def _end_time(self, job: Job) -> None:
        if job.stream is None or not job.stream.has_ended:  # one that has ended may still be read
            self.call_off(job, DeadlineExceeded())

    def direct(self) -> int:
        """Return how many callers wait; those of background jobs do not."""
        return sum(not job.is_background for job in self._jobs)

    async def wait(self) -> None:
        """Wait until all calls are closed."""
        self._all_closed.clear()
        if self._jobs:
            await self._all_closed.wait()
