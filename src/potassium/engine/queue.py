"""The bounded queue that every job passes through."""

import asyncio
from collections import deque

from potassium.engine.job import Job

__all__ = ["Capacity", "JobQueue"]


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
