"""From the queue to the GPU thread, in groups and batches.

The order in which calls get the thread, all of it:

- The queue's order is that of admission, or of priority where there are priorities. Whatever is
  first in it, and may go, goes next.
- A short job takes along those behind it, about a millisecond of work in all, to be run one after
  the other.
- A job of a batched operation takes along others of that operation, to be run in one. While the
  batch gathers, later jobs of other operations may go before it; once it is due, none may.
- A background job is handed over when the thread is free, and not before.
- A job that may stream goes when its operation has fewer streams open than it may; until then later
  jobs of other operations go before it.
- On the thread (see ``worker``), open streams make one step each in turn, and between two rounds of
  them one group or batch is run.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from potassium.engine.batch_queue import BatchQueue
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.operation_queue import OperationQueue
from potassium.engine.queue import Capacity, JobQueue

__all__ = ["Dispatcher", "Runner"]

# A hop to the thread and back costs some tens of microseconds. Handing over about a millisecond
# of work at a time makes that cost vanish for short jobs; a job that takes longer than this
# travels alone, so that long jobs keep their strict order and can be called off to the last.
GROUP_TIME = 0.001  # seconds

# From this duration on, the next group is handed over while one still runs: the thread would be
# idle for the length of a hop otherwise. For shorter jobs, which are bound by the interpreter, a
# second group in flight only makes thread and loop fight over the GIL.
PREFETCH_TIME = 0.0002  # seconds


class Runner(Protocol):
    """What the dispatcher hands groups to."""

    def hand_over(self, group: Sequence[Job]) -> None:
        """Take ``group``; returns at once."""


class Dispatcher:
    """Keeps the GPU thread supplied from the queue.

    At most two groups are with the thread: the one it runs and, where jobs are not too short
    for it to pay, the next. A batch is put together when the thread is free for it, or as soon as
    later company could hardly better it. Belongs to the event loop.
    """

    def __init__(
        self,
        jobs: JobQueue,
        capacity: Capacity,
        runner: Runner,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._capacity = capacity
        self._runner = runner
        self._clock = clock
        self._handed_over: deque[Sequence[Job]] = deque()
        self._is_due = False  # a look at the queue is on its way
        self._timer: asyncio.TimerHandle | None = None  # when a batch has gathered enough
        self._patience = inf  # seconds until then, of the batches that gather
        self._is_closed = False

    @property
    def handed_over(self) -> Sequence[Sequence[Job]]:
        """The groups that are with the thread: first the one it runs."""
        return self._handed_over

    def wake(self) -> None:
        """Look at the queue soon: once all that is happening now has happened."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def catch_up(self) -> None:
        """Look at the queue now, where that was to happen soon."""
        if self._is_due:
            self._look()

    def hand_over(self, group: Sequence[Job]) -> None:
        """Give ``group`` to the thread, behind the one that it may be at."""
        if self._handed_over:
            for job in group:
                self._capacity.enter(job)
        self._handed_over.append(group)
        self._runner.hand_over(group)

    def group_done(self) -> None:
        """Note that the thread has finished the group it was at and begun the next one."""
        self._handed_over.popleft()
        if self._handed_over:
            for job in self._handed_over[0]:
                self._capacity.leave(job)
        elif any(queue.operation.batching and queue for queue in self._jobs.by_operation):
            self._look()  # a thread that waits for a batch is dear
            return
        self.wake()

    def close(self) -> None:
        """Hand over nothing any more; what is in the queue stays there."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._is_due = False
        self._patience = inf
        while not self._is_closed and self._has_room():
            group = self._next_group()
            if group is None:
                break
            self.hand_over(group)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._patience < inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._patience, self._look)

    def _has_room(self) -> bool:
        if not self._handed_over:
            return True
        operation = self._handed_over[-1][-1].operation
        is_long = operation.batching is not None or _duration(operation) >= PREFETCH_TIME
        return len(self._handed_over) == 1 and is_long

    def _next_group(self) -> Sequence[Job] | None:
        queue = self._next_queue()
        if queue is None:
            return None
        if self._handed_over and queue.first.is_background:
            return None  # a direct call that comes until the thread is free goes before it
        if not isinstance(queue, BatchQueue):
            may_stream = queue.operation.may_stream
            return [self._jobs.pop(queue)] if may_stream else self._short_jobs(queue)
        if self._handed_over and not queue.is_ripe():
            return None
        batch = queue.choose()
        for job in batch:
            self._jobs.discard(job)
        return batch

    def _short_jobs(self, queue: OperationQueue | None) -> list[Job]:
        """Take the first job of ``queue``, and about a millisecond of work from behind it."""
        group: list[Job] = []
        left = GROUP_TIME
        while queue is not None and not queue.operation.may_stream and not queue.operation.batching:
            duration = _duration(queue.operation)
            end = self._end_of_turn(queue)
            while True:  # it is this queue's turn: its first job goes
                group.append(self._jobs.pop(queue))
                left -= duration
                if not queue or left <= 0 or queue.first.rank >= end:
                    break
            queue = self._next_queue() if left > 0 else None
        return group

    def _next_queue(self) -> OperationQueue | None:
        """Return the queue of the operation whose job is the first of all that may go now."""
        next_queue = None
        for queue in self._jobs.by_operation:
            if queue and (next_queue is None or queue.first.rank < next_queue.first.rank):
                next_queue = queue if self._may_go(queue) else next_queue
        return next_queue

    def _end_of_turn(self, queue: OperationQueue) -> float:
        """Return the rank from which on it is another operation's turn."""
        others = (other for other in self._jobs.by_operation if other and other is not queue)
        return min((other.first.rank for other in others if self._may_go(other)), default=inf)

    def _may_go(self, queue: OperationQueue) -> bool:
        operation = queue.operation
        if operation.may_stream:
            return operation.open_streams + self._with_thread(operation) < operation.streams
        if isinstance(queue, BatchQueue) and not self._handed_over:
            patience = queue.patience(self._clock())
            if patience > 0:
                self._patience = min(self._patience, patience)
                return False
        return True

    def _with_thread(self, operation: Operation) -> int:
        """Return how many jobs of an operation are with the thread and may yet open a stream."""
        return sum(job.operation is operation for group in self._handed_over for job in group)


def _duration(operation: Operation) -> float:
    """Return the seconds that a job is expected to take: long, until one was measured.

    Where some are short and most are long, it may be a long one.
    """
    floor, mean = operation.service_time.floor, operation.service_time.mean
    return GROUP_TIME if floor is None or mean is None else mean if mean >= GROUP_TIME else floor
