"""One connection of a load: sends prepared requests, one at a time, and times the answers."""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import httptools
import orjson

__all__ = ["Answer", "Connection"]

LINES = b"application/x-ndjson"
KEPT = 64 * 1024  # bytes of an answer that is an error
REFUSALS = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Answer:
    """What arrives for one call.

    Attributes:
        due: when the call was due, in monotonic seconds.
        first: when the first of its body arrived; None before.
        received: bytes of its body.
        chunks: how many chunks it has, if it is a stream.
        retry_after: the seconds that a refusal asks to wait.

    """

    __slots__ = ("chunks", "due", "first", "is_lines", "kept", "received", "retry_after", "status")

    def __init__(self, due: float) -> None:
        self.due = due
        self.status = 0
        self.first: float | None = None
        self.received = 0
        self.chunks = 0
        self.retry_after: float | None = None
        self.is_lines = False
        self.kept = b""

    @property
    def is_success(self) -> bool:
        """Whether the call succeeded."""
        return 200 <= self.status < 300  # noqa: PLR2004 - as RFC 9110 has them

    @property
    def is_refusal(self) -> bool:
        """Whether the server did not admit the call."""
        return self.status in REFUSALS

    @property
    def code(self) -> str:
        """The code of an error: that of its problem document, otherwise its status."""
        try:
            return str(orjson.loads(self.kept)["code"])
        except (orjson.JSONDecodeError, LookupError, TypeError):
            return f"status_{self.status}"


class Connection(asyncio.Protocol):
    """A connection that is kept open from one call to the next.

    Args:
        request: the bytes of a request.
        ready: called when it may send: it is open, or a call has ended.
        ended: called with the answer to a call, or with what went wrong.

    Attributes:
        answer: what arrives for the call under way; None if there is none.
        closed: done once the connection is closed.

    """

    def __init__(
        self,
        request: bytes,
        ready: Callable[[Any], object],
        ended: Callable[[Any, Answer, str | None], object],
    ) -> None:
        self._request = request
        self._ready = ready
        self._ended = ended
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._fault = "connection_broken"
        self.answer: Answer | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def begin(self, due: float) -> None:
        """Send the request, which was due at ``due``."""
        self.answer = Answer(due)
        self._transport.write(self._request)

    def break_off(self, fault: str) -> None:
        """Close the connection; the call under way has failed with ``fault``."""
        self._fault = fault
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        self._ready(self)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.break_off("malformed_response")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the call under way, which has no whole answer."""
        del exc
        answer, self.answer = self.answer, None
        if not self.closed.done():
            self.closed.set_result(None)
        if answer is not None:
            self._ended(self, answer, self._fault)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take note of a header; called by the parser, as all that follow."""
        answer = self.answer
        if answer is None or len(name) not in (11, 12):
            return
        name = name.lower()
        if name == b"retry-after" and value.isdigit():
            answer.retry_after = float(value)
        elif name == b"content-type":
            answer.is_lines = value.startswith(LINES)

    def on_headers_complete(self) -> None:
        """Take note of the status."""
        if self.answer is not None:
            self.answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Count some of the body."""
        answer = self.answer
        if answer is None:
            return
        if answer.first is None:
            answer.first = time.monotonic()
        answer.received += len(body)
        if answer.is_lines:
            answer.chunks += body.count(b"\n")
        elif not answer.is_success and len(answer.kept) < KEPT:
            answer.kept += body

    def on_chunk_complete(self) -> None:
        """Count a chunk of HTTP, where chunks are not lines."""
        if self.answer is not None and not self.answer.is_lines:
            self.answer.chunks += 1

    def on_message_complete(self) -> None:
        """End the call, and be ready for another one."""
        answer = self.answer
        if answer is None or answer.status < HTTPStatus.OK:  # 100 Continue
            return
        self.answer = None
        if self._parser.should_keep_alive():
            self._ended(self, answer, None)
            return
        self._transport.close()
        self._ended(self, answer, None)

    @property
    def is_open(self) -> bool:
        """Whether another call may be sent on it."""
        return not self._transport.is_closing()
