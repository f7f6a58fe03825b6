"""Good and bad clients over raw sockets; each coroutine is one visit, from connect to leave."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

CHANCE = random.Random(1)  # noqa: S311 - jitter
PATIENCE = 20.0  # seconds after which an answer counts as missing

# A call that finds the queue full may be answered with one of these.
MAYBE = frozenset({503})


class Unexpected(Exception):
    """A client got an answer that it did not expect."""


class Visit:
    """A connection to the server."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    def send(self, path: str, body: bytes, *headers: str, method: str = "POST") -> None:
        """Send a request; a Content-Length in ``headers`` replaces the true one."""
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
        if not any(header.startswith("Content-Type") for header in headers):
            head.append("Content-Type: application/json")
        if not any(header.startswith("Content-Length") for header in headers):
            head.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)

    async def head(self) -> tuple[int, int]:
        """Return an answer's status and the length of its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r")[0]
        return int(head.split()[1]), int(length or 0)

    async def answer(self, *expected: int) -> bytes:
        """Return an answer's body.

        Raises:
            Unexpected: the status is not one of ``expected``.

        """
        async with asyncio.timeout(PATIENCE):
            status, length = await self.head()
            body = await self.reader.readexactly(length)
        if status not in expected:
            raise Unexpected(f"{status}: {body[:200]!r}")
        return body

    def reset(self) -> None:
        """Abort the connection."""
        self.writer.transport.abort()


async def good(port: int) -> None:
    """Make some good calls on one connection."""
    async with Visit(port) as visit:
        for _ in range(5):
            visit.send("/", b'{"x": 1.0}')
            await visit.answer(200, *MAYBE)
            visit.send("/item", b'{"name": "a", "count": 1}')
            await visit.answer(200, *MAYBE)
            visit.send("/loop", b"{}")
            await visit.answer(200, *MAYBE)


async def malformed(port: int) -> None:
    """Send malformed JSON, a wrong media type, an unknown path and a wrong method."""
    async with Visit(port) as visit:
        visit.send("/", CHANCE.choice((b"", b'{"x": ', b"NaN", b"\xff", b"[" * 20_000)))
        await visit.answer(400)
        visit.send("/", b"{}", "Content-Type: text/plain")
        await visit.answer(415)
        visit.send("/nowhere", b"{}")
        await visit.answer(404)
        visit.send("/", b"", method="PUT")
        await visit.answer(405)


async def wrong_types(port: int) -> None:
    """Send JSON of the wrong types."""
    async with Visit(port) as visit:
        visit.send("/item", b'{"name": 1, "count": "many"}')
        await visit.answer(422)
        visit.send("/", b"[1]")
        await visit.answer(422)


async def too_large(port: int) -> None:
    """Announce a body over the limit, and read the answer."""
    async with Visit(port) as visit:
        visit.send("/", b"{", "Content-Length: 10000000")
        await visit.answer(413)


async def leaving(port: int) -> None:
    """Leave while the call waits or runs, by closing or by aborting the connection."""
    async with Visit(port) as visit:
        visit.send(CHANCE.choice(("/long", "/long", "/loop")), b"{}")
        await visit.writer.drain()
        await asyncio.sleep(CHANCE.uniform(0, 0.1))
        if CHANCE.random() < 0.5:  # noqa: PLR2004 - a coin
            visit.reset()


async def half(port: int) -> None:
    """Send half a body, wait, and leave."""
    async with Visit(port) as visit:
        visit.send("/", b'{"x": ', "Content-Length: 1000")
        await visit.writer.drain()
        with suppress(TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(CHANCE.uniform(0.1, 2)):
                await visit.head()


async def slow_reader(port: int) -> None:
    """Read two megabytes in small pieces, and sometimes leave halfway."""
    async with Visit(port) as visit:
        visit.send("/large", b"{}")
        status, left = await visit.head()
        if status not in (200, *MAYBE):
            raise Unexpected(f"{status}")
        enough = CHANCE.choice((0, left // 2))
        while left > enough:
            left -= len(await visit.reader.read(min(left, 65536)))
            await asyncio.sleep(0.02)


async def failing(port: int) -> None:
    """Call a handler that raises."""
    async with Visit(port) as visit:
        visit.send("/fail", b"{}")
        await visit.answer(500, *MAYBE)


async def impatient(port: int) -> None:
    """Give a call less time than it needs."""
    async with Visit(port) as visit:
        visit.send("/long", b"{}", "Prefer: wait=0.01")
        await visit.answer(200, 504, *MAYBE)


async def burst(port: int) -> None:
    """Make more calls at once than the queue has room for."""

    async def one() -> None:
        async with Visit(port) as visit:
            visit.send("/", b"{}", "Connection: close")
            await visit.answer(200, *MAYBE)

    await asyncio.gather(*(one() for _ in range(40)))


# How many visits of each kind begin per second.
KINDS: dict[Callable[[int], Awaitable[None]], float] = {
    good: 4,
    malformed: 4,
    wrong_types: 4,
    too_large: 2,
    leaving: 6,
    half: 2,
    slow_reader: 1,
    failing: 4,
    impatient: 2,
    burst: 0.5,
}
