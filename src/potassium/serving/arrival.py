"""One body on its way in: collected in memory or on disk, and decoded as it arrives."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from starlette.types import Message, Receive

from potassium.errors import BodyTooLarge
from potassium.http.codings import Decoding
from potassium.http.spooled import SpooledBody
from potassium.serving.body_clock import BodyClock
from potassium.serving.body_room import BodyRoom
from potassium.serving.body_threads import BodyThreads
from potassium.serving.pieces import Pieces

__all__ = ["UNCOUNTED", "Arrival", "BodyRule", "Desk"]

# Bodies up to this size are not counted: a server buffers more than that for each connection.
UNCOUNTED = 8 * 1024  # bytes

STRIDE = 1024 * 1024  # bytes that must arrive within the time limit, unless the body ends
BATCH = 256 * 1024  # bytes that are written or decoded at a time, for each hop to a thread

# What is decoded at once on the event loop takes a few milliseconds in the worst case.
QUICK_ARRIVED = 64 * 1024  # bytes
QUICK_CONTENT = 512 * 1024  # bytes


class BodyRule(NamedTuple):
    """What a handler allows of a body.

    Attributes:
        size: maximum bytes.
        in_memory: maximum bytes of a body in memory; a larger one goes to disk.

    """

    size: int
    in_memory: int

    def too_large(self) -> BodyTooLarge:
        """Return the error for a body with more bytes."""
        return BodyTooLarge(f"The body may have at most {self.size} bytes.")


class _TakesLongError(Exception):
    """There is too much content to go on decoding on the event loop."""


class Desk(NamedTuple):
    """What all arrivals share.

    Attributes:
        memory: counts the bodies in memory.
        disk: counts the bodies on disk.
        clock: gives up those that arrive too slowly.
        threads: decode them and write them to disk.

    """

    memory: BodyRoom
    disk: BodyRoom
    clock: BodyClock
    threads: BodyThreads


class Arrival:
    """Collects one body.

    Belongs to the event loop. While a thread works for it, nothing else does.

    Args:
        desk: what all arrivals share.
        rule: what the handler allows.
        decoding: returns what undoes the content codings; None if there are none.
        announced: the ``Content-Length``, if there is one.

    """

    def __init__(
        self,
        desk: Desk,
        rule: BodyRule,
        decoding: Callable[[], Decoding] | None,
        announced: int = 0,
    ) -> None:
        self._desk = desk
        self._rule = rule
        self._decoding = None if decoding is None else decoding()
        self._new_decoding = decoding
        self._arrived = 0
        self._waiting = Pieces()  # as it arrived
        is_large = decoding is not None or announced > rule.in_memory
        self._most_waiting = BATCH if is_large else rule.in_memory
        self._content = Pieces()  # decoded
        self._beside = 0  # bytes that the decoder takes, from one part to the next
        self._held = 0  # bytes counted in memory
        self._file: SpooledBody | None = None
        self._on_disk = 0  # bytes counted on disk
        self._work: asyncio.Future[object] | None = None  # on another thread

    async def collect(
        self, message: Message, receive: Receive, task: asyncio.Task[Any]
    ) -> bytes | SpooledBody | None:
        """Return the whole body, or None if the client disconnects; ``message`` is its first part.

        The caller must close a body on disk, and let go of one in memory that has more than
        ``UNCOUNTED`` bytes. ``task`` is the current one, which the clock watches.

        Raises:
            PotassiumError: the body is too large or damaged, or there is no room for it.

        """
        goal = STRIDE
        try:
            while message["type"] != "http.disconnect":
                await self._add(message.get("body", b""), task)
                if not message.get("more_body", False):
                    return await self._end(task)
                if self._arrived >= goal:
                    goal = self._arrived + STRIDE
                    self._desk.clock.restart(task)
                message = await receive()
            return None
        finally:
            if self._work is None or self._work.done():
                self._close()
            else:
                self._work.add_done_callback(self._close)

    def _close(self, work: "asyncio.Future[object] | None" = None) -> None:
        """Give up what has not been handed over."""
        if work is not None and not work.cancelled():
            work.exception()  # nobody else looks at it
        # An exception on the thread refers to all this, and this to the exception.
        self._work = self._decoding = None
        self._waiting, self._content = Pieces(), Pieces()
        self._held = self._desk.memory.let_go(self._held)
        file, self._file = self._file, None
        if file is not None:
            self._desk.threads.do(file.close)

    async def _off_loop(self, work: Callable[[], object], task: asyncio.Task[Any]) -> None:
        with self._desk.clock.standing_still(task):
            self._work = self._desk.threads.start(work)
            try:
                await asyncio.shield(self._work)
            except OSError as error:
                raise self._desk.threads.failed(error) from error

    async def _add(self, data: bytes, task: asyncio.Task[Any]) -> None:
        self._arrived += len(data)
        if self._arrived > self._rule.size:
            raise self._rule.too_large()
        self._waiting.add(data)
        self._count()
        if self._waiting.size > self._most_waiting:
            self._beside = 0 if self._decoding is None else self._decoding.memory
            await self._off_loop(self._digest, task)
            self._most_waiting = BATCH

    async def _end(self, task: asyncio.Task[Any]) -> bytes | SpooledBody:
        if self._decoding is None and self._file is None:
            self._content.add(self._waiting.take())
        elif self._decoding is None or not self._decode_at_once(self._decoding):
            await self._off_loop(partial(self._digest, is_last=True), task)
        self._waiting, self._beside = Pieces(), 0
        file, self._file = self._file, None
        if file is not None:
            return file
        body = self._content.take()
        self._desk.memory.let_go(self._held - (len(body) if len(body) > UNCOUNTED else 0))
        self._held = 0
        return body

    def _decode_at_once(self, decoding: Decoding) -> bool:
        """Decode a small body that is here as a whole; return False if that takes long."""
        is_whole = self._waiting.size == self._arrived
        if not is_whole or decoding.is_stacked or self._arrived > QUICK_ARRIVED:
            return False
        try:
            if self._arrived:
                decoding.feed(self._waiting.joined(), self._take_a_little)
                decoding.end()
        except _TakesLongError:
            assert self._new_decoding is not None  # noqa: S101 - there is one
            self._decoding = self._new_decoding()
            self._content = Pieces()
            return False
        return True

    def _take_a_little(self, data: bytes) -> None:
        if self._content.size + len(data) > min(QUICK_CONTENT, self._rule.in_memory):
            raise _TakesLongError
        self._content.add(data)
        self._count()

    def _digest(self, *, is_last: bool = False) -> None:
        """Decode what waits, and write it down if it is much; on a thread."""
        waiting = self._waiting.take()
        if self._decoding is None:
            self._take(waiting)
        else:
            self._decoding.feed(waiting, self._take)
            if is_last and self._arrived:
                self._decoding.end()
        self._count()

    def _take(self, data: bytes) -> None:
        """Add content; on a thread."""
        if self._file is None and self._content.size + len(data) > self._rule.in_memory:
            self._file = SpooledBody.new(self._leave_disk)
            content = self._content.take()
            self._write(self._file, content)
        if self._file is not None:
            self._write(self._file, data)
        else:
            self._content.add(data)
            self._count()

    def _write(self, file: SpooledBody, data: bytes) -> None:
        self._on_disk += self._desk.disk.hold(len(data), own=self._on_disk)
        file.write(data)

    def _leave_disk(self) -> None:
        self._on_disk = self._desk.disk.let_go(self._on_disk)

    def _count(self) -> None:
        """Count what is in memory now."""
        size = self._waiting.size + self._content.size + self._beside
        if size > self._held and size > UNCOUNTED:
            self._held += self._desk.memory.hold(size - self._held, own=self._held)
        elif size < self._held:
            self._desk.memory.let_go(self._held - size)
            self._held = size
