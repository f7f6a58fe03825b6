"""The admitted jobs whose callers still wait, and counts of how calls ended."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from potassium.engine.job import Job
from potassium.errors import PotassiumError

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

    Attributes:
        counts: the counts of all calls.

    """

    def __init__(self, discard: Callable[[Job], None], clock: Callable[[], float]) -> None:
        self.counts = Counts()
        self._discard = discard
        self._clock = clock
        self._jobs: set[Job] = set()
        self._all_closed = asyncio.Event()

    def __bool__(self) -> bool:
        """Return whether anybody waits for a result."""
        return bool(self._jobs)

    def __contains__(self, job: object) -> bool:
        """Return whether ``job`` was admitted, and its caller still waits."""
        return job in self._jobs

    def refused(self, error: PotassiumError) -> PotassiumError:
        """Count a call that is not admitted; return ``error``, for the caller to raise."""
        self.counts.refused += 1
        return error

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
            self.counts.succeeded += 1
        elif cancelled or job.called_off is not None:
            self.counts.cancelled += 1
        else:
            self.counts.failed += 1
        if job.timer is not None:
            job.timer.cancel()
        if job.operation.batching is not None:
            job.operation.batching.callers.went(self._clock())
        self._jobs.discard(job)
        if not self._jobs:
            self._all_closed.set()

    def direct(self) -> int:
        """Return how many callers wait; those of background jobs do not."""
        return sum(not job.is_background for job in self._jobs)

    async def wait(self) -> None:
        """Wait until all calls are closed."""
        self._all_closed.clear()
        if self._jobs:
            await self._all_closed.wait()
