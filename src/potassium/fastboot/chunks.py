"""Writes ``tensors.bin``."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

from potassium.fastboot.manifest import Chunk

__all__ = ["ChunkWriter", "Nowhere", "Sink"]

PAGE = 4096  # bytes; tensors that are at least that large begin at a multiple of it
LINE = 64  # bytes to which torch aligns what it allocates


class Sink(Protocol):
    """A file to write to."""

    def seek(self, offset: int, /) -> int:
        """Go to a place in it."""

    def write(self, piece: memoryview, /) -> int:
        """Write a piece there."""


class Nowhere:
    """A sink for what is only hashed."""

    def seek(self, offset: int, /) -> int:
        """Go nowhere."""
        return offset

    def write(self, piece: memoryview, /) -> int:
        """Write nothing."""
        return len(piece)


class ChunkWriter:
    """Writes chunks one after the other, aligned, and hashes them with all processors.

    Attributes:
        chunks: what was written, in order.
        size: bytes of the file so far.

    """

    def __init__(self, file: Sink) -> None:
        self.chunks: list[Chunk] = []
        self.size = 0
        self._file = file
        self._hashers = ThreadPoolExecutor(os.cpu_count(), "potassium-hash")

    def __enter__(self) -> Self:
        """Take chunks."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the threads."""
        self._hashers.shutdown()

    def write(self, size: int, device: str, pieces: Iterable[memoryview]) -> int:
        """Write a chunk of ``size`` bytes, which ``pieces`` are; return its number."""
        unit = PAGE if size >= PAGE else LINE
        offset = end = -(-self.size // unit) * unit
        digests = []
        for piece in pieces:
            digests.append(self._hashers.submit(_digest, piece))
            self._file.seek(end)
            self._file.write(piece)
            end += len(piece)
        if end > offset:
            self.size = end
        digest = hashlib.sha256(b"".join(one.result() for one in digests)).hexdigest()
        self.chunks.append(Chunk(offset=offset, size=size, device=device, digest=digest))
        return len(self.chunks) - 1


def _digest(piece: memoryview) -> bytes:
    return hashlib.sha256(piece).digest()
