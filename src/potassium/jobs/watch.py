"""Waiting for something to happen to a job."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from potassium.errors import TooManyWatchers
from potassium.jobs.shared_reads import SharedReads

__all__ = ["Change", "Watch"]

# Each watcher that is woken has an answer to send. So many at a time, with pauses, take at most
# about half of the loop's time, however many watch a job that reports twenty times a second.
AT_ONCE = 16  # watchers
PAUSE = 0.002  # seconds
RETRY_AFTER = 5  # seconds

T = TypeVar("T")


class Change:
    """Signals to one watcher that something has happened since its last ``wait``."""

    is_due = False  # it is about to be woken

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    def happen(self) -> None:
        """Wake the watcher."""
        self._happened.set()

    async def wait(self, seconds: float | None) -> bool:
        """Return True once something happens, or False if nothing does for ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        except TimeoutError:
            return False
        self._happened.clear()
        return True


class Watch:
    """The watchers of each job. Belongs to the event loop.

    Many watchers of one job do not hold up others: they are woken a few at a time, and share what
    they read about a change.

    Args:
        limit: the maximum number of watchers, of all jobs together.

    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._watchers = 0
        self._changes: defaultdict[str, set[Change]] = defaultdict(set)
        self._ends: defaultdict[str, set[Change]] = defaultdict(set)
        self._due: deque[Change] = deque()
        self._reads = SharedReads()

    def tell(self, job_id: str) -> None:
        """Wake those who watch a job for everything that happens to it."""
        self._reads.outdate(job_id)
        self._wake(self._changes.get(job_id, ()))

    def tell_end(self, job_id: str) -> None:
        """Wake all watchers of a job, as it may have ended."""
        self._reads.outdate(job_id)
        self._wake((*self._ends.get(job_id, ()), *self._changes.get(job_id, ())))

    def tell_all(self) -> None:
        """Wake all watchers."""
        for job_id in [*self._changes, *self._ends]:
            self.tell_end(job_id)

    @contextmanager
    def over(self, job_id: str, *, until_end: bool = False) -> Iterator[Change]:
        """Watch a job: the next ``wait`` notices anything that happens to it from now on.

        With ``until_end``, only what may be its end is noticed.

        Raises:
            TooManyWatchers: the maximum number of watchers is reached.

        """
        if self._watchers >= self._limit:
            raise TooManyWatchers(f"{self._limit} clients wait for jobs already.", RETRY_AFTER)
        watched = self._ends if until_end else self._changes
        change = Change()
        watched[job_id].add(change)
        self._watchers += 1
        try:
            yield change
        finally:
            self._watchers -= 1
            watched[job_id].discard(change)
            if not watched[job_id]:
                del watched[job_id]

    async def read(self, job_id: str, what: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return what ``read`` reads about a job, which is called once per change for all watchers.

        Args:
            job_id: the job.
            what: the same for all who want the same.
            read: reads it.

        """
        return await self._reads.read(job_id, what, read)

    def _wake(self, changes: Iterable[Change]) -> None:
        is_waking = bool(self._due)
        for change in changes:
            if not change.is_due:
                change.is_due = True
                self._due.append(change)
        if self._due and not is_waking:
            self._reads.keep()
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(AT_ONCE, len(self._due))):
            change = self._due.popleft()
            change.is_due = False
            change.happen()
        loop = asyncio.get_running_loop()
        if self._due:
            loop.call_later(PAUSE, self._wake_some)
        else:  # those that were just woken run first, and ask for what they want to read
            loop.call_soon(self._reads.forget)
