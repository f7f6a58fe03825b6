"""Supplies one of several workers from the queue that they share."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import inf
from types import MappingProxyType
from typing import Any, Protocol

from potassium.engine import Job, Operation
from potassium.engine.dispatcher import Dispatcher, Runner
from potassium.engine.operation_queue import OperationQueue
from potassium.engine.queue import JobQueue

__all__ = ["OVERDUE", "SOON", "WorkerDispatcher"]

# A call is given to a worker when what it runs is about to end, or earlier while others wait behind
# it: so the worker never waits for its next one. What another worker could begin is wanted back.
LEAD = 0.001  # seconds

NO_HOMES: Mapping[Job, Any] = MappingProxyType({})
WINDOW = 16  # the calls at the head of a queue among which a worker looks for its own
SOON = 0.0001  # seconds; a timer for less than that would fire before it is due, and again

# How long expectations differ from calls: a call that waits behind one that goes on for longer than
# expected is wanted back after this time.
OVERDUE = 0.002  # seconds


class Shared(Runner, Protocol):
    """A worker that the dispatcher hands groups to."""

    def collect(self) -> None:
        """Ask for what is done of the group that it runs."""

    @property
    def has_room(self) -> bool:
        """Whether it can keep track of any group or batch more."""

    @property
    def look_at_all(self) -> Callable[[], object]:
        """Lets all workers look at the queue soon."""

    @property
    def look_now(self) -> Callable[[], object]:
        """Lets all workers look at the queue at once."""

    def may_overtake(self, job: Job) -> bool:
        """Return whether one more may go before a call that it has prepared; count that one."""


class WorkerDispatcher(Dispatcher):
    """Keeps one worker supplied.

    It has at most two groups, and the second one only if the first is expected to end within a
    millisecond, or if enough others wait for all workers. See ``Fleet`` for when that is wanted
    back. Of the first calls in
    the queue, it takes those that its worker has prepared: any other would have to do that again.

    Args:
        homes: the worker that has prepared each call in the queue that was prepared by one.

    """

    def __init__(
        self,
        jobs: JobQueue,
        worker: Shared,
        *,
        homes: Mapping[Job, Shared] = NO_HOMES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(jobs, worker, collect=worker.collect, clock=clock)
        self._worker = worker
        self._homes = homes
        self._take = self._take_own
        self._due_at = 0.0  # when the first group is expected to end
        self._is_paused = self._looks_ahead = False
        self._rest: asyncio.Event | None = None  # set once it has no group

    @property
    def load(self) -> int:
        """How many groups the worker has."""
        return len(self._handed_over)

    def wake(self) -> None:
        """Let all workers look at the queue soon: an idle one goes first."""
        self._worker.look_at_all()

    def look(self, *, ahead: bool = True) -> None:
        """Look at the queue now; ``ahead`` also for a group behind the one that it has.

        That is for later: a worker that has none goes first.
        """
        self._looks_ahead = ahead
        super()._look()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is handed over any more."""
        return self._is_closed

    def pause(self) -> None:
        """Hand over nothing more until ``go_on``."""
        self._is_paused = True

    async def rested(self) -> None:
        """Wait until the worker has no group, or is gone."""
        while self._handed_over and not self._is_closed:
            self._rest = asyncio.Event()
            await self._rest.wait()

    def go_on(self) -> None:
        """Hand over again."""
        self._is_paused = False
        self.wake()

    def close(self) -> None:
        """Stop handing over; the jobs in the queue stay there."""
        super().close()
        self._tell_rest()

    def hand_over(self, group: Sequence[Job]) -> None:
        """Give ``group`` to the worker."""
        if not self._handed_over:
            self._due_at = self._clock() + _expected(group)
        super().hand_over(group)

    def _most_streams(self, operation: Operation) -> int:  # noqa: ARG002
        """Return 1: where a stream begins, it stays, and another worker may have nothing to do."""
        return 1

    def ended(self, group: Sequence[Job], at: float) -> None:
        """Note that a group was done ``at`` a time; one that is prepared sooner may overtake."""
        if self._handed_over and self._handed_over[0] is group:
            if len(self._handed_over) > 1:
                self._due_at = at + _expected(self._handed_over[1])
            self.group_done(at)
            self._tell_rest()
            return
        for job in group:
            self._capacity.leave(job)
        self.returned(group)

    def returned(self, group: Sequence[Job]) -> None:
        """Note that the worker has given a group back, which it had not begun."""
        self._handed_over.remove(group)
        self._tell_rest()
        self.wake()

    def behind(self) -> tuple[float, Sequence[Job]] | None:
        """Return the group that waits, and in how many seconds its turn should come; or None."""
        if len(self._handed_over) < 2:  # noqa: PLR2004 - the one that runs, and the next
            return None
        return self._due_at - self._clock(), self._handed_over[1]

    def _look(self) -> None:
        self._worker.look_now()

    def _has_room(self) -> bool:
        if self._is_paused or not self._worker.has_room:
            return False
        if not self._handed_over:
            return True
        if not self._looks_ahead or len(self._handed_over) > 1 or self._jobs.empty():
            return False
        left = self._due_at - self._clock()
        if left < -LEAD:  # well before what it gets would be wanted back
            return False
        if left <= LEAD or (left < inf and self._jobs.qsize() >= self._jobs.servers):
            return True  # soon, or there is enough for all
        self._patience = min(self._patience, max(left - LEAD, SOON))
        return False

    def _take_own(self, queue: OperationQueue) -> Job:
        """Take the first call out of ``queue``, or one of the next that was prepared here."""
        first = queue.first
        home = self._homes.get(first)
        if home is None or home is self._worker:
            return self._jobs.pop(queue)
        for job in islice(queue, 1, WINDOW):
            if self._homes.get(job) is self._worker:
                if not home.may_overtake(first):
                    break
                self._jobs.discard(job)
                return job
        return self._jobs.pop(queue)

    def _tell_rest(self) -> None:
        if self._rest is not None:
            self._rest.set()


def _expected(group: Sequence[Job]) -> float:
    """Return the seconds that a group is expected to take; infinity if that is not known."""
    seconds = 0.0
    for job in group:
        mean = job.operation.service_time.mean
        if mean is None:
            return inf
        seconds += mean
    return seconds
