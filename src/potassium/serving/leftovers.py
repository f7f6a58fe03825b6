"""Ends a server that has drained although the app has left something running, and names that."""

import asyncio
import logging
import os
import sys
import threading
from contextlib import suppress

from potassium.observe.logs.process_log import process_log

__all__ = ["end_tasks", "end_with_main_thread", "exit_now", "flush", "say_last"]

LAST_MOMENTS = 1.0  # seconds that cancelled tasks have to end
PATIENCE = 5.0  # seconds that other threads have to end after the main thread

logger = logging.getLogger("potassium")


async def end_tasks() -> bool:
    """Cancel all other tasks of the event loop; return whether they have ended.

    The names of those that have not, as they swallow their cancellation, are logged. The event loop
    cannot be closed then: it would wait for them.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    left = (await asyncio.wait(tasks, timeout=LAST_MOMENTS))[1] if tasks else ()
    if left:
        names = ", ".join(sorted(task.get_name() for task in left))
        logger.error("tasks that do not end when they are cancelled are left behind: %s", names)
    return not left


def end_with_main_thread() -> None:
    """End the process soon after the main thread has ended, whatever other threads do.

    The interpreter waits for threads that are not daemons, such as one that a library has left
    behind. Their names are logged.
    """
    threading.Thread(target=_end_after_main_thread, name="potassium-exit", daemon=True).start()


def _end_after_main_thread() -> None:
    threading.main_thread().join()
    others = [one for one in threading.enumerate() if not one.daemon]
    others = [one for one in others if one is not threading.main_thread()]
    for thread in others:
        thread.join(PATIENCE / len(others))
    if left := [thread.name for thread in others if thread.is_alive()]:
        logger.error("threads that do not end are left behind: %s", ", ".join(sorted(left)))
        exit_now(0)


def exit_now(status: int) -> None:
    """End the process without waiting for anything."""
    flush()
    os._exit(status)


def say_last(text: str) -> None:
    """Write a line in a signal handler, right before the process ends."""
    log = process_log()
    if log is None:
        with suppress(OSError):  # nobody reads it, or there is no stderr
            os.write(2, f"{text}\n".encode())
    else:
        log.write_now(text)


def flush() -> None:
    """Write out what was printed and logged."""
    log = process_log()
    if log is not None:
        log.flush()
    for stream in (sys.stdout, sys.stderr):
        # It may be in the middle of a write, or None in a process without one.
        with suppress(RuntimeError, ValueError, OSError, AttributeError):
            stream.flush()
