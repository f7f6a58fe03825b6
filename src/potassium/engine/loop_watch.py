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
IDLE = 0.05  # share of a time of which a process that waits or is stopped works less

logger = logging.getLogger("potassium")


class LoopWatch:
    """Looks from a thread of its own at what the event loop runs, and tells who holds it.

    Calls pay nothing for it. If a look finds a call's task running, the loop is asked to do
    something else. As long as it has not, and later looks find the same task, that is in the same
    step; the times between these looks add up. Each handler is told once.

    A look that comes late was kept from the GIL or from the CPU. The time since the last one counts
    only if it was mostly the loop's own thread that worked meanwhile. If nothing of the process
    did, because it was stopped or others had the CPU, no more than ``PERIOD`` counts.

    Args:
        loop: the running event loop, whose thread is the current one.
        clock: monotonic seconds.
        worked: returns for how many seconds the loop's thread has been working, and for how many
            all threads together.

    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._worked = worked or _time_of_this_thread()
        self._loop_thread = threading.get_ident()
        self._looked_at, self._worked_before = clock(), self._worked()
        self._task: asyncio.Task[object] | None = None  # found running at the last look
        self._held = 0.0  # seconds for which it has been found in what is the same step
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
        since_last, since_due = self._times()
        task = asyncio.current_task(self._loop)
        coroutine = None if task is None else task.get_coro()
        if getattr(coroutine, "cr_code", None) is not LoopWorker.CALL:
            self._task = None
            return
        if task is self._task and not self._has_moved:
            self._held += since_last
        else:
            self._task, self._held, self._has_moved = task, since_due, False
            self._loop.call_soon_threadsafe(self._note_move)
        if task is not None and self._held >= LIMIT:
            self._tell(task.get_name())

    def _times(self) -> tuple[float, float]:
        """Return how much counts of the time since the last look, and since this one was due."""
        now, worked = self._clock(), self._worked()
        interval = now - self._looked_at
        by_loop, by_all = (a - b for a, b in zip(worked, self._worked_before, strict=True))
        self._looked_at, self._worked_before = now, worked
        late = interval - PERIOD
        if late <= PERIOD:
            return interval, 0.0
        if by_all < interval * IDLE:
            return PERIOD, 0.0
        return (interval, late) if by_loop > by_all / 2 else (0.0, 0.0)

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


def _time_of_this_thread() -> Callable[[], tuple[float, float]]:
    """Return a function that returns how long this thread, and all together, have been working."""
    try:
        clock = time.pthread_getcpuclockid(threading.get_ident())
    except AttributeError:  # macOS and Windows
        return lambda: (0.0, time.process_time())
    return lambda: (time.clock_gettime(clock), time.process_time())
