"""Gives up bodies that arrive too slowly."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from math import inf
from typing import Any

__all__ = ["BodyClock"]

# How long past the time limit a body may be given up, as a fraction of the limit.
SLACK = 0.05


class BodyClock:
    """Cancels the tasks that read bodies and make no progress for ``limit`` seconds.

    A timer for each request would cost a tenth of a short call, so all reads in progress share
    one timer, and a body is given up at most 5 % late.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._context = Context()  # of the timer: that of no request, which it would keep
        self._under_way: dict[asyncio.Task[Any], float] = {}  # since when each makes no progress
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Watch ``task``, the current one."""
        self._under_way[task] = loop.time()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(
                self._limit * SLACK, self._look, loop, context=self._context
            )

    def restart(self, task: asyncio.Task[Any]) -> None:
        """Note that ``task`` has made progress."""
        self._under_way[task] = task.get_loop().time()

    @contextmanager
    def standing_still(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """Count no time while the context is open, as it is the server that is slow."""
        loop, since = task.get_loop(), self._under_way[task]
        stopped = loop.time()
        self._under_way[task] = inf
        try:
            yield
        finally:
            self._under_way[task] = since + loop.time() - stopped

    def gave_up(self, task: asyncio.Task[Any]) -> bool:
        """Return whether a cancellation of ``task`` is only because it is late; undo it then."""
        return task in self._late and not task.uncancel()

    def end(self, task: asyncio.Task[Any]) -> None:
        """Watch ``task`` no longer."""
        del self._under_way[task]
        self._late.discard(task)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Interrupt the reads that are late, and look again while any are in progress."""
        self._timer = None
        late = loop.time() - self._limit
        for task, since in self._under_way.items():
            if since <= late and task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._under_way:
            self._timer = loop.call_later(
                self._limit * SLACK, self._look, loop, context=self._context
            )
