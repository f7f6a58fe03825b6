"""Detecting ``async def`` code that blocks the event loop."""

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from potassium.engine.loop_worker import LoopWorker
from potassium.engine.places import place_below, place_of_step

__all__ = ["LoopWatch"]

PERIOD = 0.05  # seconds between two looks
LIMIT = 0.2  # seconds for which a step may hold the loop before it is told
IDLE = 0.05  # share of a time of which a process that waits or is stopped works less

OF_HANDLERS = (
    "Write def instead of async def, which runs on the GPU thread, or await "
    "anyio.to_thread.run_sync(...) there"
)
OF_OTHERS = (
    "If it is a route, write def instead of async def, which runs in a thread; otherwise, await "
    "anyio.to_thread.run_sync(...) there"
)

logger = logging.getLogger("potassium")


class LoopWatch:
    """Looks from a thread of its own at what the event loop runs, and tells who holds it.

    Calls pay nothing for it. If a look finds a task running, the loop is asked to do something
    else. As long as it has not, and later looks find the same task, that is in the same step; the
    times between these looks add up. Each handler is told once, and so is each route, middleware or
    other coroutine of the app's. Tasks that were there before, such as the one that starts the app,
    are not looked at.

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
        self._told: set[object] = set()  # names of handlers; files and names of others
        self._older = weakref.WeakSet(asyncio.all_tasks(loop))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="potassium-loop-watch", daemon=True)

    def start(self) -> None:
        """Begin to look, until ``close``."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking. The thread ends at once, unless it is in the middle of a look."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(PERIOD)

    def _run(self) -> None:
        with suppress(RuntimeError, OSError):  # the loop or its thread is gone
            while not self._closed.wait(PERIOD) and not self._loop.is_closed():
                self.look()

    def look(self) -> None:
        """Look once; to be called every ``PERIOD`` seconds."""
        since_last, since_due = self._times()
        task = asyncio.current_task(self._loop)
        if task is None or task in self._older:
            self._task = None
            return
        if task is self._task and not self._has_moved:
            self._held += since_last
        else:
            self._task, self._held, self._has_moved = task, since_due, False
            self._loop.call_soon_threadsafe(self._note_move)
        if self._held >= LIMIT:
            self._tell(task)

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

    def _tell(self, task: asyncio.Task[object]) -> None:
        is_call = getattr(task.get_coro(), "cr_code", None) is LoopWorker.CALL
        held_by: object
        if is_call:
            held_by = name = task.get_name()
            place = place_below(self._loop_thread, LoopWorker.CALL)
        elif (found := place_of_step(self._loop_thread)) is not None:
            code, place = found
            held_by = code.co_filename, (name := code.co_qualname)
        else:
            return
        if held_by in self._told or self._has_moved:  # it has just gone on
            return
        self._told.add(held_by)
        logger.warning(
            "%s held the event loop for over %d ms, %s: all other calls, streams and health checks "
            "wait meanwhile. %s",
            name,
            LIMIT * 1000,
            "to encode its result" if place is None else f"at {place}",
            OF_HANDLERS if is_call else OF_OTHERS,
            extra={"handler": name} if is_call else {},
        )


def _time_of_this_thread() -> Callable[[], tuple[float, float]]:
    """Return a function that returns how long this thread, and all together, have been working."""
    try:
        clock = time.pthread_getcpuclockid(threading.get_ident())
    except AttributeError:  # macOS and Windows
        return lambda: (0.0, time.process_time())
    return lambda: (time.clock_gettime(clock), time.process_time())
