"""The frames between the front and a worker: a length, a kind, and a payload.

Integers are little-endian. A frame is ``u32`` bytes of payload, ``u8`` kind, payload. Nothing is
pickled: payloads are packed numbers, JSON, and the bytes of clients and handlers as they are.
"""

import enum
import struct
from collections.abc import Iterator
from io import BytesIO

__all__ = ["LARGE", "FromWorker", "Splitter", "ToWorker", "frame"]

HEAD = struct.Struct("<IB")
ROOM = 256 * 1024  # bytes that are read at a time
LARGE = 64 * 1024  # bytes of payload from which on a frame is read to where it stays


class ToWorker(enum.IntEnum):
    """What the front sends.

    Attributes:
        CALLS: a group of calls, to be run in this order, or as one batch.
        PREPARE: one call, to be prepared; the worker answers ``PREPARED``.
        CALL_OFF: nobody wants a call any more.
        TAKEN: the reader of a stream has taken so many bytes.
        RUN: something to be run between calls, see ``broadcast``.
        STOP: nothing more comes; end once everything has been run.
        BODY: the body of the next call that says that its own comes apart.
        FILE: the same, of a body in a file; the frame is empty, and carries a descriptor.
        RECALL: a group is wanted back, unless it has begun; the worker answers ``RETURNED``.
        ANSWER: the answer to what a handler has asked.
        COLLECT: what is done of the running group is wanted now.

    """

    CALLS = 1
    PREPARE = 2
    CALL_OFF = 3
    TAKEN = 4
    RUN = 5
    STOP = 6
    BODY = 7
    FILE = 8
    RECALL = 9
    ANSWER = 10
    COLLECT = 11


class FromWorker(enum.IntEnum):
    """What a worker sends.

    Attributes:
        READY: the model is loaded.
        NOT_LOADED: ``init`` has raised; the worker ends.
        DONE: the outcome of a call.
        GROUP_DONE: the model is free for the next group.
        RETURNED: a group that was wanted back, of which nothing has begun.
        PREPARED: what a call costs, or why it could not be prepared.
        HEAD: the status and headers of a stream.
        CHUNKS: chunks of a stream.
        END: a stream has ended.
        SLOTS: how many streams of an operation are open.
        CEILING: what of a batch fits into memory.
        BEGUN: the handler of a background job has begun.
        PROGRESS: the progress of a background job.
        POST: a webhook to be posted.
        RAN: how what was to be run between calls has ended.
        UNUSABLE: the accelerator is lost; the worker ends.
        ASK: a handler calls another one, or submits a job.
        NEVER_MIND: it does not wait for the answer any more.
        MEMORY: how much memory of each accelerator is in use.

    """

    READY = 32
    NOT_LOADED = 33
    DONE = 34
    GROUP_DONE = 35
    PREPARED = 36
    HEAD = 37
    CHUNKS = 38
    END = 39
    SLOTS = 40
    CEILING = 41
    BEGUN = 42
    PROGRESS = 43
    POST = 44
    RAN = 45
    UNUSABLE = 46
    RETURNED = 47
    ASK = 48
    NEVER_MIND = 49
    MEMORY = 50


def frame(kind: int, *parts: bytes) -> list[bytes]:
    """Return a frame as the buffers that it consists of."""
    return [HEAD.pack(sum(map(len, parts)), kind), *parts]


class Splitter:
    """Splits what arrives into frames.

    Read into ``room()``, then call ``frames`` with the number of bytes read. The payload of a large
    frame is read to where it stays.

    Attributes:
        large: the large frame of which a part is missing; ``room`` is then exactly that part.

    """

    def __init__(self) -> None:
        self.large: LargeFrame | None = None
        self._buffer = memoryview(bytearray(ROOM))
        self._begin = self._end = 0  # what was read, and is in no frame so far

    def room(self) -> memoryview:
        """Return where to read to; never empty."""
        if self.large is not None:
            return self.large.room()
        if ROOM - self._begin < HEAD.size + LARGE:
            held = self._end - self._begin
            self._buffer[:held] = bytes(self._buffer[self._begin : self._end])
            self._begin, self._end = 0, held
        return self._buffer[self._end :]

    def frames(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Note that ``size`` bytes were read; yield the kind and payload of each whole frame."""
        large = self.large
        if large is not None:
            if large.fill(size):
                self.large = None
                yield large.kind, large.payload()
            return
        self._end += size
        while self._end - self._begin >= HEAD.size:
            length, kind = HEAD.unpack_from(self._buffer, self._begin)
            begin = self._begin + HEAD.size
            if self._end - begin < length:
                if length > LARGE:
                    self.large = LargeFrame(kind, length, self._buffer[begin : self._end])
                    self._begin = self._end
                break
            self._begin = begin + length
            yield kind, bytes(self._buffer[begin : begin + length])
        if self._begin == self._end:
            self._begin = self._end = 0


class LargeFrame:
    """A frame whose payload is read into the bytes object that it becomes: they are not copied."""

    def __init__(self, kind: int, length: int, begun: memoryview) -> None:
        self.kind = kind
        self._content = BytesIO()
        self._content.seek(length - 1)
        self._content.write(b"\0")
        self._left = self._content.getbuffer()
        self._left[: len(begun)] = begun
        self.fill(len(begun))

    def room(self) -> memoryview:
        """Return where the rest of it is to be read to."""
        return self._left

    def fill(self, size: int) -> bool:
        """Note that ``size`` more bytes are there; return whether it is complete."""
        before, self._left = self._left, self._left[size:]
        before.release()
        return not self._left

    def payload(self) -> bytes:
        """Return the payload of a frame that is complete."""
        self._left.release()
        return self._content.getvalue()
