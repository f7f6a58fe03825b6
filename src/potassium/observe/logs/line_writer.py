"""Writes log lines without waiting for whoever reads them."""

import logging
import os
import select
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import TextIO

__all__ = ["LineWriter"]

MOST = (
    4 * 1024 * 1024
)  # characters of lines that wait to be written; warnings may take as much again
PIECE = 256  # lines that are written at once
PAUSE = (
    0.01  # seconds in which lines gather: to wake the thread for each costs more than to write it
)
LAST_MOMENTS = 2.0  # seconds that a flush waits for a reader that takes nothing


class LineWriter(logging.Handler):
    """Formats records where they are logged, and writes them on a thread of its own.

    A pipe whose reader is slow blocks that thread and nothing else. What it has not taken then
    waits, up to a bound; beyond that, lines are left out, and the log says how many. Otherwise
    lines wait for an instant only, and warnings not at all, so a process that is killed loses
    hardly any. In a forked process, and once this is closed, lines are written at once.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream
        self._descriptor = _descriptor_of(stream)
        self._lines: deque[str] = deque()
        # Whoever holds the handler's lock counts what comes, the thread what it has done with it.
        self._added = self._left_out = 0  # characters; lines
        self._taken = self._told = 0
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._was_stuck_at = -1  # what was taken when a flush gave up
        self._is_closed = False
        self._is_direct = False
        self._thread = threading.Thread(target=self._run, name="potassium-log", daemon=True)
        self._thread.start()
        if hasattr(os, "register_at_fork"):
            this = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forked(this()))

    def emit(self, record: logging.LogRecord) -> None:
        """Let the line of ``record`` be written."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # noqa: BLE001 - of the app's arguments, which do not fit its message
            line = self._damaged(record)
        if self._is_direct:
            self._write(line)
            return
        most = MOST if record.levelno < logging.WARNING else 2 * MOST
        if self._added - self._taken + len(line) > most:
            self._left_out += 1
            return
        self._added += len(line)
        self._lines.append(line)
        if record.levelno >= logging.WARNING:
            self._hurry.set()
        if not self._news.is_set():
            self._news.set()

    def flush(self) -> None:
        """Wait until all lines are written, or for a moment if nobody reads them."""
        if self._is_direct or self._taken == self._was_stuck_at:
            return
        aim = self._added
        self._hurry.set()
        with self._progress:
            if not self._progress.wait_for(lambda: self._taken >= aim, LAST_MOMENTS):
                self._was_stuck_at = self._taken

    def close(self) -> None:
        """Write all lines, as ``flush`` does; what is logged later is written at once."""
        self.flush()
        self._is_direct = self._taken >= self._added
        self._is_closed = True
        self._hurry.set()
        self._news.set()
        super().close()

    def write_now(self, text: str) -> None:
        """Write a last line in a signal handler, which may have interrupted anything here."""
        record = logging.LogRecord("potassium", logging.WARNING, "", 0, text, (), None)
        fd = self._descriptor
        if fd is None or select.select([], [fd], [], 0)[1]:
            self._write(self.format(record) + "\n")

    def start_anew(self) -> None:
        """Write at once from now on: the thread has stayed in another process."""
        self._is_direct = True
        self._lines.clear()

    def _run(self) -> None:
        while not self._is_closed or self._lines:
            self._news.wait()
            self._hurry.wait(PAUSE)
            self._hurry.clear()
            self._news.clear()
            while self._lines:
                piece = [self._lines.popleft() for _ in range(min(len(self._lines), PIECE))]
                self._write("".join(piece))
                with self._progress:
                    self._taken += sum(map(len, piece))
                    self._progress.notify_all()
            self._tell_left_out()

    def _tell_left_out(self) -> None:
        """Say how many lines were left out, now that there is room again."""
        missing = self._left_out - self._told
        if missing:
            self._told += missing
            text = "%d log lines were left out, as they were not read as fast as they came"
            told = ("potassium", logging.WARNING, "", 0, text, (missing,), None)
            record = logging.LogRecord(*told)
            record.left_out = missing
            self._write(self.format(record) + "\n")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more
            if self._descriptor is None:
                self._stream.write(text)
                self._stream.flush()
                return
            data = memoryview(text.encode("utf-8", "backslashreplace"))
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:  # whoever shares it has made it so
                    select.select([], [self._descriptor], [])

    def _damaged(self, record: logging.LogRecord) -> str:
        """Return a line for a record whose formatting failed, with the reason."""
        text = f"this log line cannot be formatted: {record.msg!r}"
        told = (record.name, logging.ERROR, record.pathname, record.lineno, "%s", (text,))
        return self.format(logging.LogRecord(*told, sys.exc_info())) + "\n"


def _descriptor_of(stream: TextIO) -> int | None:
    """Return the file descriptor of a stream, to which one can write without its locks."""
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):  # it is no file, but a notebook's, or a test's
        return None


def _forked(writer: LineWriter | None) -> None:
    if writer is not None:
        writer.start_anew()
