"""Reads of the store that all who want the same at the same time share."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, TypeVar

__all__ = ["SharedReads"]

T = TypeVar("T")


class SharedReads:
    """Reads about jobs, each made once for all who ask for the same before the job changes.

    What was read is kept only while ``keep`` is in effect: it may be large. Belongs to the event
    loop.
    """

    def __init__(self) -> None:
        self._current: dict[tuple[str, Hashable], asyncio.Task[Any]] = {}
        self._of_job: defaultdict[str, set[Hashable]] = defaultdict(set)
        self._running: set[asyncio.Task[Any]] = set()
        self._is_kept = False

    async def read(self, job_id: str, what: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return what ``read`` returns, or what an equal read has returned or will return.

        Raises:
            Exception: whatever ``read`` raises.

        """
        task = self._current.get((job_id, what))
        if task is None:
            task = asyncio.ensure_future(_result(read))
            self._current[job_id, what] = task
            self._of_job[job_id].add(what)
            self._running.add(task)
            task.add_done_callback(partial(self._done, job_id, what))
        result: T = await asyncio.shield(task)  # others may wait for it when this is cancelled
        return result

    def outdate(self, job_id: str) -> None:
        """Read anew what is asked for from now on, as the job has changed."""
        for what in self._of_job.pop(job_id, ()):
            del self._current[job_id, what]

    def keep(self) -> None:
        """Keep what was read until ``forget``: more are about to ask for it."""
        self._is_kept = True

    def forget(self) -> None:
        """Keep nothing of what was read."""
        self._is_kept = False
        for (job_id, what), task in list(self._current.items()):
            if task.done():
                self._drop(job_id, what)

    def _done(self, job_id: str, what: Hashable, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # all who still wait get it
        if not self._is_kept and self._current.get((job_id, what)) is task:
            self._drop(job_id, what)

    def _drop(self, job_id: str, what: Hashable) -> None:
        del self._current[job_id, what]
        self._of_job[job_id].discard(what)
        if not self._of_job[job_id]:
            del self._of_job[job_id]


async def _result(read: Callable[[], Awaitable[T]]) -> T:
    return await read()
