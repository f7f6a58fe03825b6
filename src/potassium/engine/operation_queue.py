"""The waiting jobs of one operation."""

from bisect import insort
from collections import deque
from collections.abc import Iterator

from potassium.engine.job import Job
from potassium.engine.operation import Operation

__all__ = ["OperationQueue"]

STALE = 32  # departed jobs, beyond as many as wait, before they are cleared out


class OperationQueue:
    """Jobs in order of rank, any of which may leave at any time.

    Attributes:
        operation: the operation of all of them.

    """

    __slots__ = ("_jobs", "_length", "operation")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self._jobs: deque[Job] = deque()  # also departed ones, but the first one waits
        self._length = 0

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return self._length

    def __iter__(self) -> Iterator[Job]:
        """Return an iterator over the jobs that wait, in order of rank."""
        return (job for job in tuple(self._jobs) if job.is_queued)

    def add(self, job: Job) -> None:
        """Queue ``job``."""
        jobs = self._jobs
        job.is_queued = True
        self._length += 1
        if not jobs or job.rank > jobs[-1].rank:
            jobs.append(job)
        else:
            insort(jobs, job, key=lambda other: other.rank)

    @property
    def first(self) -> Job:
        """The next job; the queue must not be empty."""
        return self._jobs[0]

    def pop(self) -> Job:
        """Take the next job out of the queue, which must not be empty."""
        jobs = self._jobs
        job = jobs.popleft()
        self._left(job)
        while jobs and not jobs[0].is_queued:
            jobs.popleft()
        return job

    def remove(self, job: Job) -> None:
        """Take ``job`` out of this queue, in which it must be waiting."""
        if self._jobs[0] is job:
            self.pop()
            return
        self._left(job)
        if len(self._jobs) > 2 * self._length + STALE:
            self._jobs = deque(other for other in self._jobs if other.is_queued)

    def _left(self, job: Job) -> None:
        """Count ``job`` as no longer waiting."""
        job.is_queued = False
        self._length -= 1
