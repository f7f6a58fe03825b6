"""Reads what was on accelerators, and copies it there while more is being read.

A copy from pages that the system may move takes several times as long as one from pinned memory,
and the host waits for it. So there are two pinned buffers: while one is copied, asynchronously, the
other one is filled, by several threads.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from potassium.fastboot.manifest import Chunk
from potassium.fastboot.unfit import Unfit

__all__ = ["Accelerators", "transferred"]

BUFFER = 2**26  # bytes of each of the two
READ = 2**24  # bytes that a thread reads at a time
READERS = 4  # threads; more are no faster, and slower on slow disks


class Accelerators(Protocol):
    """Where storages are allocated, and copied to."""

    def buffer(self, size: int) -> tuple[Any, memoryview]:
        """Return pinned memory of this process, and a view to write to it."""

    def allocate(self, device: str, size: int) -> Any:
        """Return a storage of so many bytes."""

    def copy(self, buffer: Any, start: int, storage: Any, offset: int, size: int) -> None:
        """Begin to copy bytes of a buffer, from ``start`` on, to a place in a storage."""

    def mark(self) -> Any:
        """Return what is done once all copies are that have begun so far."""

    def wait(self, mark: Any) -> None:
        """Wait until a mark is done."""


@dataclass(frozen=True)
class _Piece:
    """Bytes that are read and copied at a time.

    Attributes:
        number: the number of the chunk.
        offset: where they begin in it.
        place: where they begin in the file.
        start: where they begin in the buffer.
        size: how many there are.

    """

    number: int
    offset: int
    place: int
    start: int
    size: int


def transferred(
    file: int, chunks: Mapping[int, Chunk], accelerators: Accelerators, *, buffer: int = BUFFER
) -> dict[int, Any]:
    """Return the storages of chunks by their numbers, once they are filled.

    Args:
        file: a descriptor of ``tensors.bin``.
        chunks: those that were on accelerators, by their numbers.
        accelerators: where they belong.
        buffer: bytes of each of the two buffers.

    Raises:
        Unfit: the file ends too early.

    """
    storages = {
        number: accelerators.allocate(chunk.device, chunk.size) for number, chunk in chunks.items()
    }
    if not chunks:
        return storages
    buffers = [accelerators.buffer(buffer) for _ in range(2)]
    marks: list[Any] = [None, None]
    with ThreadPoolExecutor(READERS, "potassium-read") as readers:
        for turn, pieces in enumerate(_loads(chunks, buffer)):
            memory, view = buffers[turn % 2]
            if marks[turn % 2] is not None:
                accelerators.wait(marks[turn % 2])
            list(readers.map(lambda piece, view=view: _read(file, piece, view), pieces))
            for one in pieces:
                storage = storages[one.number]
                accelerators.copy(memory, one.start, storage, one.offset, one.size)
            marks[turn % 2] = accelerators.mark()
    for mark in filter(None, marks):
        accelerators.wait(mark)
    return storages


def _loads(chunks: Mapping[int, Chunk], buffer: int) -> Iterator[list[_Piece]]:
    """Yield what is read into a buffer at a time, in the order of the file."""
    load: list[_Piece] = []
    filled = 0
    for number, offset, place, size in _reads(chunks):
        done = 0
        while done < size:
            part = min(size - done, buffer - filled)
            load.append(_Piece(number, offset + done, place + done, filled, part))
            done += part
            filled += part
            if filled == buffer:
                yield load
                load, filled = [], 0
    if load:
        yield load


def _reads(chunks: Mapping[int, Chunk]) -> Iterable[tuple[int, int, int, int]]:
    """Yield the parts of chunks that a thread reads: number, offset, place in the file, size."""
    for number, chunk in sorted(chunks.items(), key=lambda item: item[1].offset):
        for offset in range(0, chunk.size, READ):
            yield number, offset, chunk.offset + offset, min(READ, chunk.size - offset)


def _read(file: int, piece: _Piece, view: memoryview) -> None:
    done = 0
    while done < piece.size:
        part = view[piece.start + done : piece.start + piece.size]
        count = os.preadv(file, [part], piece.place + done)
        if not count:
            raise Unfit("tensors.bin ends too early: it is damaged")
        done += count
