"""The bounded queue that every job passes through."""

import asyncio
import time
from collections.abc import Callable, Collection

from potassium.engine.job import Job, Operation, Priority
from potassium.engine.operation_queue import OperationQueue

__all__ = ["Capacity", "JobQueue"]


class Capacity:
    """How many jobs may wait, over all queues of one engine together.

    A job waits from its admission until the thread is at its group: while it is prepared, in line,
    and also while it lies in the GPU thread's inbox behind the group that runs.
    """

    __slots__ = ("limit", "waiting")

    def __init__(self, limit: int) -> None:
        """Allow ``limit`` jobs to wait."""
        self.limit = limit
        self.waiting = 0

    def enter(self, job: Job) -> None:
        """Count ``job`` as waiting."""
        if not job.has_place:
            job.has_place = True
            self.waiting += 1

    def leave(self, job: Job) -> None:
        """Count ``job`` as waiting no more."""
        if job.has_place:
            job.has_place = False
            self.waiting -= 1


class JobQueue(asyncio.Queue[Job]):
    """An ``asyncio.Queue`` whose bound is a shared ``Capacity``, with a line for each operation.

    ``put_nowait`` raises ``asyncio.QueueFull`` when the capacity is used up. Without priorities
    jobs are in the order of admission. With them, jobs of higher priority overtake, up to a
    point: a normal job is overtaken by fewer later ones than the capacity, a low job by fewer
    than twice as many, a high one by none. So none starves. Background jobs are of low priority,
    with priorities or without. Belongs to the event loop.
    """

    def __init__(
        self,
        capacity: Capacity,
        *,
        priorities: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Share ``capacity`` with the engine's other queues."""
        super().__init__()
        self._capacity = capacity
        self._priorities = priorities
        self._clock = clock

    @property
    def lines(self) -> Collection[OperationQueue]:
        """The line of each operation that had a job yet."""
        return self._lines.values()

    def qsize(self) -> int:
        """Return how many jobs stand in line."""
        return sum(map(len, self._lines.values()))

    def empty(self) -> bool:
        """Return whether none does."""
        return not any(self._lines.values())

    def full(self) -> bool:
        """Return whether as many jobs wait as may."""
        return self._capacity.waiting >= self._capacity.limit

    def reserve(self, job: Job) -> None:
        """Give ``job`` its place, to be put in line when it is prepared.

        Raises:
            asyncio.QueueFull: as many jobs wait as may.

        """
        if self.full():
            raise asyncio.QueueFull
        self._rank(job)
        self._capacity.enter(job)

    def put_reserved(self, job: Job) -> None:
        """Put ``job``, which has its place, in line."""
        self._capacity.leave(job)
        self.put_nowait(job)

    def discard(self, job: Job) -> None:
        """Take ``job`` out, wherever it waits."""
        self._capacity.leave(job)
        if job.in_line:
            operation = job.operation
            self._lines[operation].remove(job)
            if operation.batching is not None:
                operation.batching.left(job)

    def pop(self, line: OperationQueue) -> Job:
        """Take the first job out of ``line``, which has one."""
        job = line.pop()
        job.has_place = False
        self._capacity.waiting -= 1
        return job

    def _rank(self, job: Job) -> None:
        self._admitted += 1
        job.rank = self._admitted
        if self._priorities:
            overtakers = (Priority.HIGH - job.priority) * self._capacity.limit
            job.rank = (self._admitted + overtakers) << 64 | self._admitted  # no two are the same
        elif job.priority < Priority.NORMAL:  # in the background
            job.rank = self._admitted + self._capacity.limit + 0.5

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - the capacity is the bound
        self._lines: dict[Operation, OperationQueue] = {}
        self._admitted = 0

    def _put(self, item: Job) -> None:
        if not item.rank:
            self._rank(item)
        item.has_place = True
        self._capacity.waiting += 1
        operation = item.operation
        line = self._lines.get(operation)
        if line is None:
            line = self._lines[operation] = OperationQueue(operation)
        line.add(item)
        if operation.batching is not None:
            item.arrived_at = self._clock()
            operation.batching.arrived(item, item.arrived_at)

    def _get(self) -> Job:
        return self.pop(min(filter(None, self._lines.values()), key=lambda line: line.first.rank))
