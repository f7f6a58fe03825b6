"""The bounded queue that every job passes through."""

import asyncio
import time
from collections.abc import Callable, Collection
from math import ceil

from potassium.engine.batch_queue import BatchQueue
from potassium.engine.job import Job, Priority
from potassium.engine.operation import Operation
from potassium.engine.operation_queue import OperationQueue

__all__ = ["Capacity", "JobQueue"]

LONGEST_RETRY_AFTER = 60  # seconds


class Capacity:
    """How many jobs may wait, in all queues of one engine together.

    A job waits from its admission until the thread begins its group: while it is prepared, while it
    is queued, and also while it is in the GPU thread's inbox behind the group that runs. It counts
    again while its result is finished in the side pool. Background jobs do not count: they are few,
    see ``jobs.executor``, and neither take places of direct calls nor wait for one.
    """

    __slots__ = ("limit", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting = 0

    def enter(self, job: Job) -> None:
        """Count ``job`` as waiting, unless it is in the background."""
        if not job.has_place and not job.is_background:
            job.has_place = True
            self.waiting += 1

    def leave(self, job: Job) -> None:
        """Count ``job`` as no longer waiting."""
        if job.has_place:
            job.has_place = False
            self.waiting -= 1

    def retry_after(self, operation: Operation) -> int:
        """Return the seconds until a place is likely to be free, from 1 to 60."""
        seconds = (operation.service_time.mean or 0.0) * self.waiting
        return min(max(ceil(seconds / (operation.concurrency or 1)), 1), LONGEST_RETRY_AFTER)


class JobQueue(asyncio.Queue[Job]):
    """An ``asyncio.Queue`` with one queue per operation, bounded by a shared ``Capacity``.

    ``put_nowait`` raises ``asyncio.QueueFull`` when the capacity is used up. Without priorities,
    jobs are in order of admission. With them, jobs of higher priority overtake others, up to a
    point: a normal job is overtaken by fewer later ones than the capacity, a low job by fewer
    than twice as many, a high one by none. So none starves. Belongs to the event loop.

    Background jobs have low priority, with priorities or without. Without, no more direct calls go
    before one than the capacity, those included that already wait when it comes.
    """

    def __init__(
        self,
        capacity: Capacity,
        *,
        priorities: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._capacity = capacity
        self._priorities = priorities
        self._clock = clock

    @property
    def by_operation(self) -> Collection[OperationQueue]:
        """The queue of each operation that has had a job."""
        return self._queues.values()

    def qsize(self) -> int:
        """Return how many jobs are queued."""
        return sum(map(len, self._queues.values()))

    def empty(self) -> bool:
        """Return whether no job is queued."""
        return not any(self._queues.values())

    def full(self) -> bool:
        """Return whether the maximum number of jobs is waiting, in all queues together."""
        return self._capacity.waiting >= self._capacity.limit and not self._takes_any

    def reserve(self, job: Job) -> None:
        """Give ``job`` its place; it is queued once it is prepared.

        Raises:
            asyncio.QueueFull: the maximum number of jobs is waiting.

        """
        if self.full() and not job.is_background:
            raise asyncio.QueueFull
        self._rank(job)
        self._capacity.enter(job)

    def put_reserved(self, job: Job) -> None:
        """Queue ``job``, which has its place, or needs none because it is in the background."""
        self._takes_any = True
        try:
            self.put_nowait(job)
        finally:
            self._takes_any = False

    def discard(self, job: Job) -> None:
        """Free the place of ``job``, and take it out of the queue if it is queued."""
        self._capacity.leave(job)
        if job.is_queued:
            self._queues[job.operation].remove(job)

    def pop(self, queue: OperationQueue) -> Job:
        """Take the first job out of ``queue``, which must not be empty."""
        job = queue.pop()
        if job.has_place:
            job.has_place = False
            self._capacity.waiting -= 1
        return job

    def _rank(self, job: Job) -> None:
        self._admitted += 1
        job.rank = self._admitted
        if self._priorities:
            overtakers = (Priority.HIGH - job.priority) * self._capacity.limit
            job.rank = (self._admitted + overtakers) << 64 | self._admitted  # no two are the same
        elif job.is_background:
            overtakers = max(0, self._capacity.limit - self._capacity.waiting)
            job.rank = self._admitted + overtakers + 0.5

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - the capacity is the bound
        self._queues: dict[Operation, OperationQueue] = {}
        self._admitted = 0
        self._takes_any = False

    def _put(self, item: Job) -> None:
        if not item.rank:
            self._rank(item)
        if not item.has_place and not item.is_background:
            item.has_place = True
            self._capacity.waiting += 1
        operation = item.operation
        queue = self._queues.get(operation)
        if queue is None:
            queue = self._queues[operation] = self._new_queue(operation)
        queue.add(item)

    def _get(self) -> Job:
        return self.pop(
            min(filter(None, self._queues.values()), key=lambda queue: queue.first.rank)
        )

    def _new_queue(self, operation: Operation) -> OperationQueue:
        if operation.batching is None:
            return OperationQueue(operation)
        return BatchQueue(operation, operation.batching, self._clock)
