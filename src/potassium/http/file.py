"""A file that a client has sent."""

import io
from typing import BinaryIO

__all__ = ["File"]


class File(io.BufferedIOBase):
    """An uploaded file: a binary file object, readable and seekable.

    It is open until the call that it belongs to has ended.

    Args:
        content: the content, of which nothing has been read.
        size: its size in bytes.
        name: the name that the client gave; do not use it as a path.
        content_type: the media type that the client gave.

    """

    def __init__(
        self, content: BinaryIO, *, size: int, name: str = "", content_type: str = ""
    ) -> None:
        self._content = content
        self.size = size
        self.name = name
        self.content_type = content_type

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, or all that are left."""
        return self._content.read(-1 if size is None else size)

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override] # any buffer
        """Read bytes into ``buffer``; return how many."""
        data = self._content.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to another position; return it."""
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._content.tell()
