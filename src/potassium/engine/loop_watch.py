"""Detecting an ``async def`` handler that blocks the event loop."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from potassium.engine.loop_worker import LoopWorker
from potassium.engine.places import place_below

__all__ = ["LoopWatch"]

PERIOD = 0.05  # seconds between two looks
LIMIT = 0.2  # seconds for which a step may hold the loop before it is told

logger = logging.getLogger("potassium")


class LoopWatch:
    """Looks from a thread of its own at what the event loop runs, and tells who holds it.

    Calls pay nothing for it. If two looks find a call's task running, the loop is asked to do
    something else; if it has not by the time that ``LIMIT`` is over, the task is still in the same
    step. Each handler is told once.

    A look that comes late, because something else held the GIL or the process did not run, blames
    the loop only if the loop's own thread was the one that was working.

    Args:
        loop: the running event loop, whose thread is the current one.
        clock: monotonic seconds.
        worked: returns for how many seconds the loop's thread has been working; None if unknown.

    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._worked = worked or _time_of_this_thread()
        self._loop_thread = threading.get_ident()
        self._looked_at, self._worked_before = clock(), self._worked()
        self._task: asyncio.Task[object] | None = None  # found running at the last look
        self._since = 0.0  # when it was first found in what may be the same step
        self._has_moved = False  # whether the loop has done something else since
        self._told: set[str] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="potassium-loop-watch", daemon=True)

    def start(self) -> None:
        """Begin to look, until ``close``."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()

    def _run(self) -> None:
        with suppress(RuntimeError, OSError):  # the loop or its thread is gone
            while not self._closed.wait(PERIOD) and not self._loop.is_closed():
                self.look()

    def look(self) -> None:
        """Look once; to be called every ``PERIOD`` seconds."""
        now, worked = self._clock(), self._worked()
        due = self._looked_at + PERIOD
        since, late, busy = now, now - due, worked - self._worked_before
        self._looked_at, self._worked_before = now, worked
        if late > PERIOD:
            if busy < late / 2:
                self._task = None  # not the loop's doing: what it was in then is not known
            else:
                since = due  # it held the GIL all along, and is still in the same step
        task = asyncio.current_task(self._loop)
        coroutine = None if task is None else task.get_coro()
        if getattr(coroutine, "cr_code", None) is not LoopWorker.CALL:
            self._task = None
        elif task is not self._task or self._has_moved:
            self._task, self._since, self._has_moved = task, since, False
            self._loop.call_soon_threadsafe(self._note_move)
        if self._task is not None and now - self._since >= LIMIT:
            self._tell(self._task.get_name())

    def _note_move(self) -> None:
        self._has_moved = True

    def _tell(self, name: str) -> None:
        if name in self._told:
            return
        place = place_below(self._loop_thread, LoopWorker.CALL)
        if self._has_moved:
            return  # it has just gone on
        self._told.add(name)
        doing = "to encode its result" if place is None else f"at {place}"
        logger.warning(
            "%s held the event loop for over %d ms, %s: all other calls, streams and health checks "
            "wait meanwhile. Write def instead of async def, which runs on the GPU thread, or "
            "await anyio.to_thread.run_sync(...) there",
            name,
            LIMIT * 1000,
            doing,
            extra={"handler": name},
        )


def _time_of_this_thread() -> Callable[[], float]:
    """Return a function that returns how long the current thread has been working, in seconds."""
    try:
        clock = time.pthread_getcpuclockid(threading.get_ident())
    except AttributeError:  # macOS and Windows
        return lambda: 0.0
    return lambda: time.clock_gettime(clock)
