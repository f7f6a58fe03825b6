"""Reads request bodies, within limits on size, time, and the room for all of them."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from starlette.types import Receive, Scope

from potassium.config import Limits
from potassium.errors import BodyTimeout, PotassiumError, UnsupportedEncoding
from potassium.http.codings import Decoding, codings_of
from potassium.http.spooled import IN_MEMORY, SpooledBody
from potassium.serving.arrival import UNCOUNTED, Arrival, BodyRule, Desk
from potassium.serving.body_clock import BodyClock
from potassium.serving.body_room import BodyRoom
from potassium.serving.body_threads import BodyThreads

__all__ = ["TAKEN", "Bodies", "BodyRule"]

# In an ASGI scope: what ``Bodies.read`` returned to whoever passes the request on.
TAKEN = "potassium.body"

Headers = list[tuple[bytes, bytes]]
Body = bytes | SpooledBody

LONGEST_LENGTH = 18  # digits of a Content-Length: an exabyte


class Bodies:
    """Reads bodies, and gives up those that take too long.

    Bodies count from their first byte until they are let go. What counts is what has arrived, not
    what was announced: a client that sends nothing keeps nobody out. The time that the server
    itself takes, to write them to disk for example, does not count against a client.

    Attributes:
        memory: counts the bodies in memory, and what is parsed from them.
        disk: counts the bodies on disk.

    """

    def __init__(self, limits: Limits) -> None:
        self.memory = BodyRoom(limits.body_memory)
        self.disk = BodyRoom(limits.body_disk)
        self._size = limits.body_size
        self._time = limits.body_timeout
        self._clock = BodyClock(limits.body_timeout)
        self._threads = BodyThreads()
        self._desk = Desk(self.memory, self.disk, self._clock, self._threads)

    def rule(self, size: int | None, *, spools: bool) -> BodyRule:
        """Return the rule for a handler with this ``body_size``.

        ``spools`` is whether it does not need its bodies in memory.
        """
        size = size or self._size
        return BodyRule(size, min(size, IN_MEMORY if spools else self._size))

    async def read(
        self, scope: Scope, receive: Receive, rule: BodyRule
    ) -> tuple[Headers, Body, int] | None:
        """Return the headers and the body, without content codings, once it is complete.

        Also return how many bytes of memory are counted for it. The caller must ``let_go`` of all.
        Return None if the client disconnects before. If the scope has a body
        under ``TAKEN``, which another caller has read and not let go of, return that one.

        Raises:
            BodyTooLarge: the body is larger than ``rule`` allows, by its ``Content-Length`` before
                anything is read, or by the bytes that have arrived or were decoded.
            Overloaded: there is no room for it, determined in the same way.
            DiskFailed: it cannot be kept on disk.
            UnsupportedEncoding: it has a content coding that cannot be undone.
            MalformedEncoding: it is not what its content coding says.
            BodyTimeout: it arrives too slowly for ``Limits.body_timeout``.

        """
        if (taken := scope.pop(TAKEN, None)) is not None:
            return self._again(taken, rule)
        headers: Headers = scope["headers"]
        length, decoding = 0, None
        for name, value in headers:
            if name == b"content-length" and value.isdigit():
                length = self._checked(value, scope, rule)
            elif name == b"content-encoding" and decoding is None:
                decoding = _decoding(scope, rule)
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task(loop))  # ASGI runs in tasks
        self._clock.begin(task, loop)
        try:
            message = await receive()
            if (
                decoding is None
                and message["type"] == "http.request"
                and not message.get("more_body", False)
                and len(whole := message.get("body", b"")) <= rule.in_memory
            ):
                return headers, whole, self.memory.hold(len(whole)) if len(whole) > UNCOUNTED else 0
            arrival = Arrival(self._desk, rule, decoding, length)
            return _handed_over(headers, await arrival.collect(message, receive, task), decoding)
        except asyncio.CancelledError:
            if not self._clock.gave_up(task):
                raise
            raise BodyTimeout(
                f"Neither the rest of the body nor a MiB of it arrived within {self._time:g} s."
            ) from None
        finally:
            self._clock.end(task)

    def let_go(self, held: int, body: Body | None) -> int:
        """Count ``held`` bytes of memory no longer, and close ``body`` if it is on disk; return 0.

        To close it once more does nothing.
        """
        if held:
            self.memory.let_go(held)
        if type(body) is SpooledBody:
            self._threads.do(body.close)  # to free gigabytes takes a while
        return 0

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _again(self, taken: tuple[Headers, Body, int], rule: BodyRule) -> tuple[Headers, Body, int]:
        """Return what was read before, unless it is more than ``rule`` allows."""
        _, body, held = taken
        if (len(body) if isinstance(body, bytes) else body.size) > rule.size:
            self.let_go(held, body)
            raise rule.too_large()
        return taken

    def _checked(self, length: bytes, scope: Scope, rule: BodyRule) -> int:
        """Return the announced length, for which there must be room."""
        # int() refuses thousands of digits, and not every server refuses them first.
        if len(length) > LONGEST_LENGTH or int(length) > rule.size:
            raise _unread(rule.too_large(), scope)
        size = int(length)
        room = self.memory if size <= rule.in_memory else self.disk
        if size > UNCOUNTED:
            try:
                room.check(size)
            except PotassiumError as error:
                raise _unread(error, scope) from None
        return size


def _decoding(scope: Scope, rule: BodyRule) -> Callable[[], Decoding] | None:
    """Return what makes a decoder for the content codings of a request; None if it has none."""
    values = [value for name, value in scope["headers"] if name == b"content-encoding"]
    try:
        codings = codings_of(values)
    except UnsupportedEncoding as error:
        raise _unread(error, scope) from None
    return partial(Decoding, codings, rule.size, rule.too_large) if codings else None


def _handed_over(
    headers: Headers, body: Body | None, decoding: object
) -> tuple[Headers, Body, int] | None:
    """Return what ``read`` returns for a body that was collected."""
    if body is None:
        return None
    if decoding is not None:
        headers = _decoded(headers, body)
    return headers, body, len(body) if type(body) is bytes and len(body) > UNCOUNTED else 0


def _decoded(headers: Headers, body: Body) -> Headers:
    """Return the headers that describe the decoded body."""
    size = len(body) if isinstance(body, bytes) else body.size
    return [
        (name, b"%d" % size if name == b"content-length" else value)
        for name, value in headers
        if name != b"content-encoding"
    ]


def _unread(error: PotassiumError, scope: Scope) -> PotassiumError:
    """Return the error for a body of which nothing was read.

    A client that waits for ``100 Continue`` may send it or not, so that nobody can tell where its
    next request begins: the connection is closed (RFC 9110, section 10.1.1).
    """
    error.closes = any(
        name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]
    )
    return error
