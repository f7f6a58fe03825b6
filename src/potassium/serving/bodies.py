"""Reads request bodies, within limits on size and time."""

import asyncio
from typing import Any, cast

from starlette.types import Receive, Scope

from potassium.config import Limits
from potassium.errors import BodyTimeout, BodyTooLarge

__all__ = ["Bodies"]

# How long past the time limit a body may be given up, as a fraction of the limit.
SLACK = 0.05
LONGEST_LENGTH = 18  # digits of a Content-Length: an exabyte


class Bodies:
    """Reads bodies, and gives up those that take too long.

    A timer for each request would cost a tenth of a short call, so all reads in progress share
    one timer, and a body is given up at most 5 % later than ``Limits.body_timeout``.
    """

    def __init__(self, limits: Limits) -> None:
        self._size = limits.body_size
        self._time = limits.body_timeout
        self._under_way: dict[asyncio.Task[Any], float] = {}  # when each began; oldest first
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body, or None if the client disconnected before sending all of it.

        Raises:
            BodyTooLarge: the body is larger than ``Limits.body_size``, by its ``Content-Length``
                before anything is read, or by the bytes that have arrived.
            BodyTimeout: the body did not arrive within ``Limits.body_timeout``.

        """
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and self._is_over(value):
                raise self._too_large()
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

    async def _read(self, receive: Receive) -> bytes | None:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False) and len(body) <= self._size:
            return body
        parts, size = [body], len(body)
        while message.get("more_body", False) and size <= self._size:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > self._size:
            raise self._too_large()
        return b"".join(parts)

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

    def _is_over(self, length: bytes) -> bool:
        # int() refuses thousands of digits, and not every server refuses them first.
        return len(length) > LONGEST_LENGTH or int(length) > self._size

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body may have at most {self._size} bytes.")
