"""Reads request bodies, within limits on size, time, and the memory for all of them."""

import asyncio
from typing import Any, cast

from starlette.types import Receive, Scope

from potassium.config import Limits
from potassium.errors import BodyTimeout, BodyTooLarge, Overloaded, PotassiumError

__all__ = ["UNCOUNTED", "Bodies"]

# How long past the time limit a body may be given up, as a fraction of the limit.
SLACK = 0.05
LONGEST_LENGTH = 18  # digits of a Content-Length: an exabyte

# Bodies up to this size are not counted: a server buffers more than that for each connection.
UNCOUNTED = 8 * 1024  # bytes


class Bodies:
    """Reads bodies, and gives up those that take too long.

    A timer for each request would cost a tenth of a short call, so all reads in progress share
    one timer, and a body is given up at most 5 % later than ``Limits.body_timeout``.

    Bodies count from their first byte until they are let go. What counts is what has arrived, not
    what was announced: a client that sends nothing keeps nobody out.
    """

    def __init__(self, limits: Limits) -> None:
        self._size = limits.body_size
        self._most_held = limits.body_memory
        self._held = 0
        self._time = limits.body_timeout
        self._under_way: dict[asyncio.Task[Any], float] = {}  # when each began; oldest first
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body, or None if the client disconnected before sending all of it.

        The caller must ``let_go`` of its bytes if they are more than ``UNCOUNTED``.

        Raises:
            BodyTooLarge: the body is larger than ``Limits.body_size``, by its ``Content-Length``
                before anything is read, or by the bytes that have arrived.
            Overloaded: it does not fit into ``Limits.body_memory``, determined in the same way.
            BodyTimeout: the body did not arrive within ``Limits.body_timeout``.

        """
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                self._check_length(value, scope)
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task(loop))  # ASGI runs in tasks
        self._under_way[task] = loop.time()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(self._time * SLACK, self._look, loop)
        try:
            return await self._read(receive)
        except asyncio.CancelledError:
            if task not in self._late or task.uncancel():
                raise
            raise BodyTimeout(f"The body did not arrive within {self._time:g} s.") from None
        finally:
            del self._under_way[task]
            self._late.discard(task)

    def hold(self, size: int, own: int = 0) -> int:
        """Count ``size`` more bytes for a request that has ``own`` already; return ``size``.

        A single request may have any number.

        Raises:
            Overloaded: together with those of other requests, they are too many.

        """
        if self._held > own and self._held + size > self._most_held:
            raise Overloaded(retry_after=1)
        self._held += size
        return size

    def let_go(self, size: int) -> int:
        """Count ``size`` bytes no longer; return 0, as many as the request has then."""
        self._held -= size
        return 0

    async def _read(self, receive: Receive) -> bytes | None:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if len(body) > self._size:
                raise self._too_large()
            if len(body) > UNCOUNTED:
                self.hold(len(body))
            return body
        arrived = bytearray(body)  # a list of pieces could take much more
        held = 0
        try:
            while len(arrived) <= self._size:
                if len(arrived) > UNCOUNTED:
                    held += self.hold(len(arrived) - held, own=held)
                if not message.get("more_body", False):
                    body = bytes(arrived)
                    held = 0
                    return body
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                arrived += message.get("body", b"")
            raise self._too_large()
        finally:
            self.let_go(held)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Interrupt the reads that are late, and look again while any are in progress."""
        self._timer = None
        late = loop.time() - self._time
        for task, since in self._under_way.items():
            if since > late:
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._under_way:
            self._timer = loop.call_later(self._time * SLACK, self._look, loop)

    def _check_length(self, length: bytes, scope: Scope) -> None:
        # int() refuses thousands of digits, and not every server refuses them first.
        if len(length) > LONGEST_LENGTH or int(length) > self._size:
            raise _unread(self._too_large(), scope)
        size = int(length)
        if size > UNCOUNTED and self._held and self._held + size > self._most_held:
            raise _unread(Overloaded(retry_after=1), scope)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body may have at most {self._size} bytes.")


def _unread(error: PotassiumError, scope: Scope) -> PotassiumError:
    """Return the error for a body of which nothing was read.

    A client that waits for ``100 Continue`` may send it or not, so that nobody can tell where its
    next request begins: the connection is closed (RFC 9110, section 10.1.1).
    """
    error.closes = any(
        name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]
    )
    return error
