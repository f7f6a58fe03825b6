"""Writes log lines without waiting for whoever reads them."""

import logging
import os
import select
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TextIO

from potassium.observe.logs.visible import shown

__all__ = ["LineWriter", "Stream"]

Stream = TextIO | None  # None in a process that has no stderr

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
    waits, up to a bound; beyond that, lines are left out, and so they are while the disk is full.
    Then the log says how many. Otherwise lines wait for an instant only, and warnings not at all,
    so a process that is killed loses hardly any. In a forked process, and once this is closed,
    lines are written at once.
    """

    def __init__(self, stream: Stream, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream
        self._descriptor = _descriptor_of(stream)
        self._lines: deque[str] = deque()
        # Whoever holds the handler's lock counts what comes, the thread what it has done with it.
        self._added = self._left_out = 0  # characters; lines
        self._taken = self._lost = self._told = 0
        self._is_torn = False  # whether the last line that was written has no end
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._was_stuck_at = -1  # what was taken when a flush gave up
        self._is_closed = False
        self._is_direct = False
        self._file: int | None = None  # is locked while a line is written
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
        if self._is_direct and self._thread.is_alive():
            self._thread.join(LAST_MOMENTS)  # it may have to say what was left out
        super().close()

    def share(self) -> int | None:
        """Let other processes write to the same stream; return the file for ``take_turns``.

        Returns None if there can be none, so that long lines may be torn.
        """
        if self._file is None and hasattr(os, "memfd_create"):  # Linux
            with suppress(OSError):
                self._file = os.memfd_create("potassium-log")
        return self._file

    def take_turns(self, lock: int) -> None:
        """Write lines only while this process has locked a file: they are not torn by others.

        A pipe takes more than 4096 bytes (``PIPE_BUF``) in pieces, if its reader is slow.
        """
        self._file = lock

    def write_now(self, text: str) -> None:
        """Write a last line in a signal handler, which may have interrupted anything here."""
        record = logging.LogRecord("potassium", logging.WARNING, "", 0, text, (), None)
        fd = self._descriptor
        if fd is None or select.select([], [fd], [], 0)[1]:
            self._file = None  # another process may hold it for long
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
                self._lost += self._write("".join(piece))
                with self._progress:
                    self._taken += sum(map(len, piece))
                    self._progress.notify_all()
            self._tell_left_out()

    def _tell_left_out(self) -> None:
        """Say how many lines were left out, once that can be written."""
        missing = self._left_out + self._lost - self._told
        if missing:
            text = (
                "%d log lines were left out, as they could not be written, or not as fast as they "
                "came"
            )
            told = ("potassium", logging.WARNING, "", 0, text, (missing,), None)
            record = logging.LogRecord(*told)
            record.left_out = missing
            if not self._write(self.format(record) + "\n"):
                self._told += missing

    def _write(self, text: str) -> int:
        """Write lines; return how many of them could not be written to the end."""
        if self._descriptor is not None:
            data = text.encode("utf-8", "backslashreplace")
            with nullcontext() if self._file is None else _locked(self._file):
                return self._write_to(self._descriptor, data)
        if self._stream is not None:
            with suppress(OSError, ValueError):  # nobody reads it any more
                self._stream.write(text)
                self._stream.flush()
        return 0

    def _write_to(self, descriptor: int, data: bytes) -> int:
        ends = int(self._is_torn)  # lines that were written before, but for their end
        data = b"\n" * ends + data
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[os.write(descriptor, rest) :]
                except BlockingIOError:  # whoever shares it has made it so
                    select.select([], [descriptor], [])
        except (OSError, ValueError):  # nobody reads it any more, or the disk is full
            written = len(data) - len(rest)
            if written:
                self._is_torn = data[written - 1] != ord("\n")
            return data.count(b"\n", max(written, ends))
        self._is_torn = False
        return 0

    def _damaged(self, record: logging.LogRecord) -> str:
        """Return a line for a record whose formatting failed, with the reason."""
        text = f"this log line cannot be formatted: {shown(record.msg)}"
        told = (record.name, logging.ERROR, record.pathname, record.lineno, "%s", (text,))
        return self.format(logging.LogRecord(*told, sys.exc_info())) + "\n"


@contextmanager
def _locked(file: int) -> Iterator[None]:
    """Keep other processes from locking ``file``, unless that fails."""
    import fcntl  # noqa: PLC0415 - not on Windows, which has no workers

    with suppress(OSError):
        fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_UN)


def _descriptor_of(stream: Stream) -> int | None:
    """Return the file descriptor of a stream, to which one can write without its locks."""
    try:
        return None if stream is None else stream.fileno()
    except (AttributeError, OSError, ValueError):  # it is no file, but a notebook's, or a test's
        return None


def _forked(writer: LineWriter | None) -> None:
    if writer is not None:
        writer.start_anew()
