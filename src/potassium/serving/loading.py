"""Says that an app is still loading: now and then on the log, all the time on a terminal."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

__all__ = ["Loading"]

PERIOD = 1.0  # seconds between two looks at the clock
FIRST = 30.0  # seconds until the log says so for the first time; then after twice as long each

logger = logging.getLogger("potassium")


class Loading:
    """While it is entered, says how long an app has been loading.

    The line on a terminal is rewritten each second, and goes with the end. It leaves the cursor at
    its beginning, so that the next line of the log takes its place.

    Args:
        place: returns at which line ``init`` is; None if it does not run. None in place of this
            means that worker processes load, which tell it themselves.
        worker: the name of the worker process that this is, which leaves the terminal alone; None
            in any other process.
        warming: returns the path of the handler that is being warmed up; None if none is.
        terminal: where to show the progress, if that is a terminal; stderr by default.

    """

    def __init__(
        self,
        place: Callable[[], str | None] | None,
        *,
        worker: str | None = None,
        warming: Callable[[], str | None] = lambda: None,
        terminal: TextIO | None = None,
    ) -> None:
        self._place = place
        self._warming = warming
        self._where = "" if worker is None else f" on {worker}"
        # None in a process without one
        self._terminal = (terminal or sys.stderr) if worker is None else None
        self._written = 0  # characters on the terminal

    def __enter__(self) -> Self:
        """Begin to count the seconds."""
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._due = FIRST
        self._next = self._loop.call_later(PERIOD, self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the terminal's line."""
        self._next.cancel()
        self._write("")

    def _look(self) -> None:
        spent = self._loop.time() - self._began
        self._next = self._loop.call_later(PERIOD, self._look)
        if self._place is not None and spent >= self._due:
            self._due *= 2
            self._write("")
            logger.warning(
                "loading%s, %d s so far%s",
                self._where,
                spent,
                self._activity(self._place()),
                extra={"loading_seconds": round(spent)},
            )
        self._write(f"loading... {int(spent)} s")

    def _activity(self, place: str | None) -> str:
        """Return what goes on, with ``place`` of ``init``."""
        if (path := self._warming()) is not None:
            return f"; {path} is being warmed up"
        return f"; init is at {place}" if place else ""

    def _write(self, text: str) -> None:
        """Show ``text`` in place of what was shown before."""
        if self._terminal is None or not (text or self._written):
            return
        with suppress(OSError, ValueError):  # it was closed
            if self._terminal.isatty():
                self._terminal.write(text.ljust(self._written) + "\r")
                self._terminal.flush()
                self._written = len(text)
