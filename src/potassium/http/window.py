"""A part of a file, which reads like a file of its own."""

import io
import threading
from typing import BinaryIO

__all__ = ["Shared", "Window"]


class Shared:
    """A file object that several windows read, possibly on several threads.

    Attributes:
        lock: held by the window that reads.

    """

    def __init__(self, content: BinaryIO) -> None:
        self.lock = threading.Lock()
        self._content = content

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``; fewer at the end. The caller holds the lock."""
        self._content.seek(offset)
        return self._content.read(size)


class Window(io.RawIOBase):
    """The ``size`` bytes from ``offset`` of ``shared``, with a position of its own."""

    def __init__(self, shared: Shared, offset: int, size: int) -> None:
        self._shared = shared
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, or all that are left."""
        with self._shared.lock:
            left = max(self._size - self._position, 0)
            data = self._shared.read(
                self._offset + self._position, left if size < 0 else min(size, left)
            )
            self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to another position; return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position
