"""The bounded queue that every job passes through."""

import asyncio
import heapq
from collections import deque

from potassium.engine.job import Job, Priority

__all__ = ["Capacity", "JobQueue", "PriorityJobQueue"]


class Capacity:
    """How many jobs may wait, over all queues of one engine together.

    A job waits from its admission until it starts to run, also while it lies in the GPU
    thread's inbox behind the one that runs.
    """

    __slots__ = ("limit", "waiting")

    def __init__(self, limit: int) -> None:
        """Allow ``limit`` jobs to wait."""
        self.limit = limit
        self.waiting = 0


class JobQueue(asyncio.Queue[Job]):
    """A first-in, first-out ``asyncio.Queue`` whose bound is a shared ``Capacity``.

    ``put_nowait`` raises ``asyncio.QueueFull`` when the capacity is used up. Belongs to the
    event loop.
    """

    _queue: deque[Job]

    def __init__(self, capacity: Capacity) -> None:
        """Share ``capacity`` with the engine's other queues."""
        super().__init__()
        self._capacity = capacity

    def full(self) -> bool:
        """Return whether as many jobs wait as may."""
        return self._capacity.waiting >= self._capacity.limit

    def discard(self, job: Job) -> bool:
        """Take ``job`` out of the line, and return whether it still stood in it."""
        try:
            self._queue.remove(job)
        except ValueError:
            return False
        self._capacity.waiting -= 1
        return True

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - the capacity is the bound
        self._queue = deque()

    def _put(self, item: Job) -> None:
        self._capacity.waiting += 1
        self._queue.append(item)

    def _get(self) -> Job:
        self._capacity.waiting -= 1
        return self._queue.popleft()


class PriorityJobQueue(JobQueue):
    """A queue in which jobs of higher priority overtake, up to a point.

    A normal job is overtaken by fewer later ones than the capacity, a low job by fewer than twice
    as many, a high one by none. So none starves.
    """

    _heap: list[tuple[int, int, Job]]  # by rank, and of one rank in the order of admission

    def qsize(self) -> int:
        """Return how many jobs wait in this queue."""
        return len(self._heap)

    def empty(self) -> bool:
        """Return whether none does."""
        return not self._heap

    def discard(self, job: Job) -> bool:
        """Take ``job`` out of the line, and return whether it still stood in it."""
        for index, (_, _, other) in enumerate(self._heap):
            if other is job:
                del self._heap[index]
                heapq.heapify(self._heap)
                self._capacity.waiting -= 1
                return True
        return False

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - the capacity is the bound
        self._heap = []
        self._admitted = 0

    def _put(self, item: Job) -> None:
        self._capacity.waiting += 1
        self._admitted += 1
        overtakers = (Priority.HIGH - item.priority) * self._capacity.limit
        heapq.heappush(self._heap, (self._admitted + overtakers, self._admitted, item))

    def _get(self) -> Job:
        self._capacity.waiting -= 1
        return heapq.heappop(self._heap)[2]
