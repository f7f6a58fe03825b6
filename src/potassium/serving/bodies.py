"""Reading requests' bodies, bounded in size and in time."""

import asyncio
from typing import Any, cast

from starlette.types import Receive, Scope

from potassium.config import Limits
from potassium.errors import BodyTimeout, BodyTooLarge

__all__ = ["Bodies"]

# How much later than its limit a body may be given up, as a share of the limit.
SLACK = 0.05
LONGEST_LENGTH = 18  # digits of a Content-Length: an exabyte


class Bodies:
    """Reads bodies, and gives up those that take too long.

    A timer for each request would cost a tenth of a short call, so all those under way share
    one, and a body is given up at most 5 % later than ``Limits.body_timeout``.
    """

    def __init__(self, limits: Limits) -> None:
        """Read under ``limits``."""
        self._size = limits.body_size
        self._time = limits.body_timeout
        self._under_way: dict[asyncio.Task[Any], float] = {}  # since when; the oldest first
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body, or None where the client left before it was through.

        Raises:
            BodyTooLarge: the body has more bytes than it may, by its Content-Length before
                anything is read, or by what has arrived.
            BodyTimeout: it has not arrived in time.

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
        """Interrupt those that are late, and look again while any are under way."""
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
        # int() refuses thousands of digits, and not every server refuses them before.
        return len(length) > LONGEST_LENGTH or int(length) > self._size

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body may have at most {self._size} bytes.")
