"""The bounded queue that every job passes through."""

import asyncio
import time
from collections.abc import Callable, Collection, Hashable
from math import ceil

from potassium.engine.batch_queue import BatchQueue
from potassium.engine.job import Job, Priority
from potassium.engine.operation import Operation
from potassium.engine.operation_queue import OperationQueue
from potassium.errors import QueueFull

__all__ = ["Capacity", "JobQueue"]

LONGEST_RETRY_AFTER = 60  # seconds


class Capacity:
    """How many jobs may wait for one runner: for the GPU thread, or for the loop in one lane.

    A job waits from its admission until its runner begins its group: while it is prepared, while it
    is queued, and also while it is in the GPU thread's inbox behind the group that runs. It counts
    again while its result is finished in the side pool. Background jobs do not count: they are few,
    see ``jobs.executor``, and neither take places of direct calls nor wait for one.

    If jobs have clients, none of these may hold more places than are free. One that floods thus
    gets half of the places, and each of n that do gets one part of n + 1: there is a place for
    those who come later, and nobody has to give one back.
    """

    __slots__ = ("_held", "limit", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting = 0
        self._held: dict[Hashable, int] = {}  # places, by client

    def enter(self, job: Job) -> None:
        """Count ``job`` as waiting, unless it is in the background."""
        if not job.has_place and not job.is_background:
            job.has_place = True
            self.waiting += 1
            if job.client is not None:
                self._held[job.client] = self.held(job.client) + 1

    def leave(self, job: Job) -> None:
        """Count ``job`` as no longer waiting."""
        if job.has_place:
            job.has_place = False
            self.waiting -= 1
            if job.client is not None:
                held = self._held.pop(job.client) - 1
                if held:
                    self._held[job.client] = held

    @property
    def free(self) -> int:
        """How many places are free."""
        return self.limit - self.waiting

    def held(self, client: Hashable) -> int:
        """Return how many places ``client`` holds."""
        return self._held.get(client, 0)

    def has_place_for(self, job: Job) -> bool:
        """Return whether ``job`` may wait now."""
        if job.is_background:
            return True
        free = self.limit - self.waiting
        return free > (0 if job.client is None else self.held(job.client))


class JobQueue(asyncio.Queue[Job]):
    """An ``asyncio.Queue`` with one queue per operation, bounded by one ``Capacity``.

    ``put_nowait`` raises ``asyncio.QueueFull`` when the capacity is used up, or when the job's
    client has its share of it. Without priorities, jobs are in order of admission. With them, jobs
    of higher priority overtake others, up to a point: a normal job is overtaken by fewer later ones
    than the capacity, a low job by fewer than twice as many, a high one by none. So none starves.

    Background jobs have low priority, with priorities or without, and always a place. Without
    priorities, no more direct calls go before one than the capacity, those included that already
    wait when it comes. Belongs to the event loop.

    Attributes:
        capacity: how many jobs wait and may wait, also where the queue does not hold them.

    """

    def __init__(
        self,
        capacity: Capacity,
        *,
        priorities: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.capacity = capacity
        self._priorities = priorities
        self.servers = 1  # how many run jobs of this queue at a time
        self._last_background = 0.0  # the rank of the last background job
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

    def refusal(self, job: Job) -> QueueFull:
        """Return the error that refuses ``job``, for which there is no place.

        It suggests to wait for as long as all waiting jobs are expected to take.
        """
        seconds = self.estimated_wait(job.operation)
        detail = f"The queue is full: {self.capacity.limit} calls are waiting."
        if self.capacity.free > 0:
            held = self.capacity.held(job.client)
            detail = f"Your share of the queue is full: {held} of your calls are waiting."
        return QueueFull(detail, min(max(ceil(seconds), 1), LONGEST_RETRY_AFTER))

    def estimated_wait(self, operation: Operation) -> float:
        """Return the seconds that all waiting jobs are expected to take, for one of ``operation``.

        Those that wait elsewhere count as if they were of the same operation.
        """
        seconds, elsewhere = 0.0, self.capacity.waiting
        for queue in self.by_operation:
            seconds += len(queue) * (queue.operation.service_time.mean or 0.0)
            elsewhere -= len(queue)
        elsewhere = max(elsewhere, 0)  # background jobs are queued, but take no places
        seconds += elsewhere * (operation.service_time.mean or 0.0)
        return seconds / (operation.concurrency or self.servers)

    def put_nowait(self, item: Job) -> None:
        """Queue ``item``.

        Raises:
            asyncio.QueueFull: there is no place for it.

        """
        if not self.capacity.has_place_for(item):
            raise asyncio.QueueFull
        self.put_admitted(item)

    # Queue a job for which there is a place, or one was reserved. Its ``put_nowait`` is unbounded.
    put_admitted = asyncio.Queue.put_nowait

    def reserve(self, job: Job) -> None:
        """Give ``job``, for which there is a place, its place; queue it once it is prepared."""
        self._rank(job)
        self.capacity.enter(job)

    def discard(self, job: Job) -> None:
        """Free the place of ``job``, and take it out of the queue if it is queued."""
        self.capacity.leave(job)
        if job.is_queued:
            self._queues[job.operation].remove(job)

    def pop(self, queue: OperationQueue) -> Job:
        """Take the first job out of ``queue``, which must not be empty."""
        job = queue.pop()
        self.capacity.leave(job)
        return job

    def _rank(self, job: Job) -> None:
        self._admitted += 1
        job.rank = self._admitted
        if self._priorities:
            overtakers = (Priority.HIGH - job.priority) * self.capacity.limit
            job.rank = (self._admitted + overtakers) << 64 | self._admitted  # no two are the same
        elif job.is_background:
            # Behind the others, also if fewer places are free now; no two are the same.
            rank = self._admitted + max(0, self.capacity.free) + 0.5
            job.rank = self._last_background = max(rank, self._last_background + 1)

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - the capacity is the bound
        self._queues: dict[Operation, OperationQueue] = {}
        self._admitted = 0

    def _put(self, item: Job) -> None:
        if not item.rank:
            self._rank(item)
        self.capacity.enter(item)
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
