"""Calls from the app's own process: what they carry, and results that stay Python objects."""

import sys
from contextvars import ContextVar
from typing import Any

from potassium.engine import Job
from potassium.handlers.accelerator import to_host
from potassium.http.message import Message
from potassium.http.reply import Reply
from potassium.http.request import CURRENT, job_of
from potassium.http.response import NOT_GIVEN, Response
from potassium.http.results import reply_to, size_of
from potassium.http.stream_formats import StreamFormat, WireHeaders

__all__ = ["ON_THREAD", "Chunk", "InProcess", "Objects", "Value", "caller_of", "outcome_of"]

PLAIN = (str, bytes, bytearray, int, float)
UNKNOWN = 64 * 1024  # bytes that other objects count as, such as pictures: a few fill the buffer

# What the GPU thread runs where there is no current request: the first job of a batch, or init.
ON_THREAD: ContextVar[Job] = ContextVar("on_thread")


class InProcess(Message):
    """The message of a call that Python code makes, and not a client.

    Attributes:
        caller: the job that the code runs for; None outside of handlers.

    """

    __slots__ = ("caller",)

    def __init__(
        self, request_id: str, headers: WireHeaders, body: bytes, *, caller: Job | None
    ) -> None:
        super().__init__(request_id, headers, body, form=Objects())
        self.caller = caller


class Value:
    """The result of a call as its handler returned it, in place of an encoded ``Reply``."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Chunk(bytes):
    """A chunk that is not encoded. Its length, which a stream's buffer goes by, is about its size.

    Attributes:
        value: the chunk, as the handler yielded or sent it.

    """

    value: Any
    _size: int

    @classmethod
    def of(cls, value: Any) -> "Chunk":
        """Return the chunk for a value in host memory."""
        chunk = cls()
        chunk.value, chunk._size = value, _size_of(value)
        return chunk

    def __len__(self) -> int:
        """Return about how many bytes of memory the value takes."""
        return self._size


class Objects(StreamFormat):
    """Passes the chunks of a stream on, with their tensors in host memory."""

    media_type = b""

    def encode(self, chunk: Any) -> bytes:
        """Return the chunk, not encoded."""
        return Chunk.of(to_host(chunk))

    def set_by_app(self, status: int, headers: WireHeaders) -> StreamFormat:  # noqa: ARG002
        """Return this format: a call in the process has neither a status nor headers."""
        return self


def _size_of(value: Any) -> int:
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(map(_size_of, value.values()))
    if isinstance(value, list | tuple):
        return sys.getsizeof(value) + sum(map(_size_of, value))
    if value is None or isinstance(value, PLAIN):
        return sys.getsizeof(value)
    size = size_of(value)
    return UNKNOWN if size is None else size


def outcome_of(job: Job, result: Any) -> Reply | Value:
    """Return a handler's result as the caller of ``job`` takes it.

    Raises:
        UnserializableOutput: it is sent over HTTP, but cannot be encoded.

    """
    message = job.origin
    if type(message) is not InProcess:  # a background job is not refused for what it accepts
        return reply_to(result, message.raw_headers, is_strict=message.background is None)
    if type(result) is Response and result.json is not NOT_GIVEN:
        result.json = to_host(result.json)
    return Value(to_host(result))


def caller_of() -> Job | None:
    """Return the job that the running code belongs to; None if it belongs to none."""
    request = CURRENT.get(None)
    return ON_THREAD.get(None) if request is None else job_of(request)
