"""A request body on disk: in a file without a name, or in one that somebody keeps."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

__all__ = ["IN_MEMORY", "SpooledBody"]

IN_MEMORY = 1024 * 1024  # bytes; larger content goes to disk, unless it is wanted in memory
BUFFER = 64 * 1024  # bytes of a reader
CLOSED = "The body is closed, because its call has ended."


class SpooledBody:
    """A body in a file, for any number of readers that share its descriptor.

    Whoever has it must ``close`` it. Readers that are still open then raise ValueError, as reads
    from a closed file do. Until it is complete, only one thread at a time may write to it.

    Attributes:
        size: how many bytes have been written, or are in the file.

    """

    __slots__ = ("_file", "_is_closed", "_lock", "_on_close", "_uses", "size")

    def __init__(
        self, file: io.FileIO, size: int, on_close: Callable[[], object] | None = None
    ) -> None:
        self.size = size
        self._file = file
        self._on_close = on_close
        self._lock = Lock()
        self._uses = 1  # reads and writes under way, and one until it is closed
        self._is_closed = False

    @classmethod
    def new(cls, on_close: Callable[[], object] | None = None) -> "SpooledBody":
        """Return an empty body in a temporary file that is gone once it is closed.

        ``on_close`` is called when the file is closed, on any thread. Raises OSError.
        """
        import tempfile  # noqa: PLC0415 - takes a while, and most bodies are small

        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        return cls(file, 0, on_close)

    @classmethod
    def at(cls, path: Path) -> "SpooledBody":
        """Return the body that the file at ``path`` holds; raises OSError."""
        file = path.open("rb", buffering=0)
        return cls(file, os.fstat(file.fileno()).st_size)

    def share(self) -> "SpooledBody":
        """Return the same body for somebody else, who closes it independently; raises OSError."""
        with self._in_use():
            return SpooledBody(os.fdopen(os.dup(self._file.fileno()), "rb", 0), self.size)

    def write(self, data: bytes) -> None:
        """Append ``data``; raises OSError."""
        view = memoryview(data)
        with self._in_use():
            while view:
                written = self._file.write(view)
                view = view[written:]
                self.size += written

    def read(self) -> bytes:
        """Return all of it."""
        return self.read_at(0, self.size)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, or all that there are from ``offset`` on."""
        pieces = []
        with self._in_use():
            while size > 0 and (piece := os.pread(self._file.fileno(), size, offset)):
                pieces.append(piece)
                offset += len(piece)
                size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, buffer: memoryview | bytearray, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` on; return how many bytes were there."""
        with self._in_use():
            return os.preadv(self._file.fileno(), [buffer], offset)

    def open(self) -> BinaryIO:
        """Return a new reader, at position 0."""
        return io.BufferedReader(_Reader(self), BUFFER)

    def hold(self) -> int:
        """Return the descriptor, and keep it open until ``let_go``.

        Raises:
            ValueError: the body is closed.

        """
        with self._lock:
            if self._is_closed:
                raise ValueError(CLOSED)
            self._uses += 1
        return self._file.fileno()

    def close(self) -> None:
        """Close the file, once the reads under way have ended; another call does nothing."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self.let_go()

    def let_go(self) -> None:
        """Undo one ``hold``."""
        with self._lock:
            self._uses -= 1
            is_last = not self._uses
        if is_last:
            self._file.close()
            if self._on_close is not None:
                self._on_close()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the descriptor open, which the system might give to another file."""
        self.hold()
        try:
            yield
        finally:
            self.let_go()


class _Reader(io.RawIOBase):
    """A position in a body."""

    def __init__(self, body: SpooledBody) -> None:
        self._body = body
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override] # any buffer
        count = self._body.read_into(buffer, self._position)
        self._position += count
        return count

    def readall(self) -> bytes:
        data = self._body.read_at(self._position, self._body.size - self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._body.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{offset} is before the start of the body.")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position
