"""Hands jobs from the queue to the GPU thread, in groups and batches.

These are all the rules for the order in which calls get the thread:

- The queue is in order of admission, or of priority if priorities are enabled. The first job in it
  that may go is next.
- A short job takes along those behind it, about a millisecond of work in all, to be run one after
  the other.
- A job of a batched operation takes along others of that operation, to be run in one. While the
  batch gathers, later jobs of other operations may go before it; once it is due, none may.
- A background job is handed over only when the thread is free.
- A job that may stream goes when its operation may open another stream (``Operation.streams``);
  until then later jobs of other operations go before it. Those whose streams make their steps
  together go together.
- On the thread (see ``worker``), each open stream makes one step in turn, and one group or batch is
  run between two rounds of such steps, or as many as take no longer than the last shared step.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from itertools import islice
from math import inf
from typing import Protocol

from potassium.engine.batch_queue import BatchQueue
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.operation_queue import OperationQueue
from potassium.engine.queue import JobQueue

__all__ = ["Dispatcher", "Runner"]

# A hop to the thread and back costs some tens of microseconds. Handing over about a millisecond
# of work at a time makes that cost negligible for short jobs. A job that takes longer than this
# travels alone, so that long jobs keep their strict order and can be called off to the last moment.
GROUP_TIME = 0.001  # seconds

# From this duration on, the next group is handed over while one still runs: otherwise the thread
# would be idle for the length of a hop. For shorter jobs, which are bound by the interpreter, a
# second group in flight only makes the thread and the loop contend for the GIL.
PREFETCH_TIME = 0.0002  # seconds

# The lag of the loop is that of its latest turn, or less and less of a longer one before.
LAG_DECAY = 0.9  # per group
LATE = 0.01  # seconds of lag from which on short jobs, too, are worth a second group
LONGEST_LAG = 0.25  # seconds

# A group of several jobs that takes longer than this has one in it that is slower than expected:
# what is done of it is fetched, rather than waited for.
SLOW = 0.005  # seconds


class Runner(Protocol):
    """The worker that the dispatcher hands groups to."""

    def hand_over(self, group: Sequence[Job]) -> None:
        """Take ``group`` without blocking."""

    def free_streams(self, operation: Operation) -> int:
        """Return how many more streams of ``operation`` may open, those that wait for it apart."""


class Dispatcher:
    """Keeps the GPU thread supplied from the queue.

    The thread has at most two groups: the one it runs and, unless jobs are too short for that to
    pay off, the next one. If the loop is late to notice that a group is done, as when a thousand
    clients are refused meanwhile, the thread has more: as much work as fills the time by which the
    loop was late. A batch is put together when the thread is free for it, or as soon as later
    arrivals could hardly improve it. Belongs to the event loop.

    Args:
        collect: fetches what is done of the group that the thread runs.

    """

    def __init__(
        self,
        jobs: JobQueue,
        runner: Runner,
        *,
        collect: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._collect = collect
        self._capacity = jobs.capacity
        self._take: Callable[[OperationQueue], Job] = jobs.pop
        self._runner = runner
        self._clock = clock
        self._handed_over: deque[Sequence[Job]] = deque()
        self._lag = 0.0  # seconds by which the loop was late recently
        self._context = Context()  # of looks at the queue: that of no call, which it would keep
        self._is_due = False  # a look at the queue is scheduled
        self._timer: asyncio.TimerHandle | None = None  # set while a batch gathers
        self._patience = inf  # seconds until it is due; the least of all that gather
        self._is_closed = False
        self._slow_timer: asyncio.TimerHandle | None = None
        self._watched: Sequence[Job] | None = None  # the first group, when the timer was set

    @property
    def handed_over(self) -> Sequence[Sequence[Job]]:
        """The groups that the thread has: first the one it runs."""
        return self._handed_over

    def wake(self) -> None:
        """Look at the queue soon, after the callbacks that are already scheduled."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look, context=self._context)

    def catch_up(self) -> None:
        """Look at the queue now if a look is scheduled."""
        if self._is_due:
            self._look()

    def hand_over(self, group: Sequence[Job]) -> None:
        """Give ``group`` to the thread, behind the one that it may be running."""
        if self._handed_over:
            for job in group:
                self._capacity.enter(job)
        self._handed_over.append(group)
        if len(group) > 1 and self._slow_timer is None:
            self._watch()
        self._runner.hand_over(group)

    def group_done(self, at: float) -> None:
        """Note that the thread finished its group ``at`` a time, and began the next one, if any."""
        self._lag = min(max(self._clock() - at, self._lag * LAG_DECAY), LONGEST_LAG)
        self._handed_over.popleft()
        if self._handed_over:
            for job in self._handed_over[0]:
                self._capacity.leave(job)
        elif any(queue.operation.batching and queue for queue in self._jobs.by_operation):
            self._look()  # at once: a thread that waits for a batch is costly
            return
        self.wake()

    def close(self) -> None:
        """Stop handing over; the jobs in the queue stay there."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._slow_timer is not None:
            self._slow_timer.cancel()

    def _watch(self) -> None:
        """See after a while whether a group of several jobs is still not done."""
        self._watched = self._handed_over[0]
        loop = asyncio.get_running_loop()
        self._slow_timer = loop.call_later(SLOW, self._fetch, context=self._context)

    def _fetch(self) -> None:
        """Fetch what is done of a group that is slow."""
        self._slow_timer = None
        groups = self._handed_over
        if groups and groups[0] is self._watched:
            self._collect()
        if any(len(group) > 1 for group in groups):
            self._watch()

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
            self._timer = loop.call_later(self._patience, self._look, context=self._context)

    def _has_room(self) -> bool:
        if not self._handed_over:
            return True
        if len(self._handed_over) > 1:
            ahead = islice(self._handed_over, 1, None)
            return sum(_duration(group[-1].operation) * len(group) for group in ahead) < self._lag
        operation = self._handed_over[0][-1].operation
        is_long = operation.batching is not None or _duration(operation) >= PREFETCH_TIME
        return is_long or self._lag >= LATE

    def _next_group(self) -> Sequence[Job] | None:
        queue = self._next_queue()
        if queue is None:
            return None
        if self._handed_over and queue.first.is_background:
            return None  # a direct call that arrives before the thread is free goes first
        if not isinstance(queue, BatchQueue):
            may_stream = queue.operation.may_stream
            return self._streams(queue) if may_stream else self._short_jobs(queue)
        if self._handed_over and not queue.is_ripe():
            return None
        batch = queue.choose()
        for job in batch:
            self._jobs.discard(job)
        return batch

    def _streams(self, queue: OperationQueue) -> list[Job]:
        """Take the first job of ``queue``, and those that may go with it to step together."""
        operation = queue.operation
        group = [self._take(queue)]
        if operation.shared_step is not None and operation.shared_step.begins_at_once:
            most = self._most_streams(operation)
            end = self._end_of_turn(queue)
            while queue and len(group) < most and queue.first.rank < end:
                if queue.first.is_background:
                    break
                group.append(self._take(queue))
        return group

    def _most_streams(self, operation: Operation) -> int:
        """Return how many streams of ``operation`` may go to the thread at a time."""
        return self._runner.free_streams(operation) - self._with_thread(operation)

    def _short_jobs(self, queue: OperationQueue | None) -> list[Job]:
        """Take the first job of ``queue``, and those behind it for about a millisecond of work."""
        group: list[Job] = []
        left = GROUP_TIME
        while queue is not None and not queue.operation.may_stream and not queue.operation.batching:
            duration = _duration(queue.operation)
            end = self._end_of_turn(queue)
            while True:  # it is this queue's turn: its first job goes
                group.append(self._take(queue))
                left -= duration
                if not queue or left <= 0 or queue.first.rank >= end:
                    break
            queue = self._next_queue() if left > 0 else None
        return group

    def _next_queue(self) -> OperationQueue | None:
        """Return the queue whose first job is the earliest of those that may go now."""
        next_queue = None
        for queue in self._jobs.by_operation:
            if queue and (next_queue is None or queue.first.rank < next_queue.first.rank):
                next_queue = queue if self._may_go(queue) else next_queue
        return next_queue

    def _end_of_turn(self, queue: OperationQueue) -> float:
        """Return the rank at which the turn of another operation begins."""
        others = (other for other in self._jobs.by_operation if other and other is not queue)
        return min((other.first.rank for other in others if self._may_go(other)), default=inf)

    def _may_go(self, queue: OperationQueue) -> bool:
        operation = queue.operation
        if operation.may_stream:
            return self._with_thread(operation) < self._runner.free_streams(operation)
        if isinstance(queue, BatchQueue) and not self._handed_over:
            patience = queue.patience(self._clock())
            if patience > 0:
                self._patience = min(self._patience, patience)
                return False
        return True

    def _with_thread(self, operation: Operation) -> int:
        """Return how many jobs of an operation the thread has that may still open a stream."""
        return sum(job.operation is operation for group in self._handed_over for job in group)


def _duration(operation: Operation) -> float:
    """Return the seconds that a job is expected to take; until one is measured, it counts as long.

    If some jobs are short but the mean is long, the next one may be long.
    """
    floor, mean = operation.service_time.floor, operation.service_time.mean
    return GROUP_TIME if floor is None or mean is None else mean if mean >= GROUP_TIME else floor
