"""The status line of an answer, as it arrives from the network."""

import re
import ssl
from contextvars import ContextVar
from typing import Any

import httpcore

__all__ = ["ANSWER", "Heard", "StatusLine"]

LONGEST = 1024  # bytes of a status line
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2})[ \r\n]")


class StatusLine:
    """The first line of the answer to a request.

    A receiver that has sent it has decided, whatever follows: a head that the HTTP client refuses,
    one that never ends, or nothing.

    Attributes:
        status: the final status in it; None if there is none yet.

    """

    def __init__(self) -> None:
        self.status: int | None = None
        self._received = b""
        self._is_complete = False

    def received(self, data: bytes) -> None:
        """Take note of what is received."""
        if self._is_complete:
            return
        self._received += data[:LONGEST]
        if b"\n" in self._received or len(self._received) > LONGEST:
            self._is_complete = True
            if found := STATUS_LINE.match(self._received):
                self.status = int(found[1])


# The answer to the request that the current task makes.
ANSWER: ContextVar[StatusLine | None] = ContextVar("answer", default=None)


class Heard(httpcore.AsyncNetworkStream):
    """A connection that tells ``ANSWER`` what the receiver answers."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._is_to_proxy = False  # which answers by itself, until there is a tunnel

    async def read(  # noqa: D102 - as inherited
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> bytes:
        data = await self._stream.read(max_bytes, timeout)
        if (answer := ANSWER.get()) is not None and not self._is_to_proxy:
            answer.received(data)
        return data

    async def write(  # noqa: D102
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        if buffer.startswith(b"CONNECT "):
            self._is_to_proxy = True
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:  # noqa: D102
        await self._stream.aclose()

    async def start_tls(  # noqa: D102
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return Heard(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: D102
        return self._stream.get_extra_info(info)
