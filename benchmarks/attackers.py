"""Clients that try to wear a server out over raw sockets; each coroutine is one visit."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from clients import CHANCE, MAYBE, Unexpected, Visit

LONGEST = 6.0  # seconds after which the server must have closed a connection that does nothing
TRAILERS = (
    b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
)
COLLIDING = 2**61 - 1  # all of its multiples have the same hash


async def silent(port: int) -> None:
    """Connect and send nothing, or half a head, until the server closes the connection."""
    async with Visit(port) as visit:
        visit.writer.write(CHANCE.choice((b"", b"POST / HTTP/1.1\r\nHost: a\r\nX-A: ")))
        async with asyncio.timeout(LONGEST):
            await visit.reader.read()


async def endless_head(port: int) -> None:
    """Send a target, a field or trailers without end."""
    async with Visit(port) as visit:
        begin, more = CHANCE.choice(
            (
                (b"GET /", b"a" * 10_000),
                (b"GET / HTTP/1.1\r\n", b"X-A: " + b"a" * 10_000 + b"\r\n"),
                (b"GET / HTTP/1.1\r\nX-A: ", b"a" * 10_000),
                (TRAILERS, b"X-A: " + b"a" * 10_000 + b"\r\n"),
            )
        )
        with suppress(ConnectionError):
            visit.writer.write(begin)
            for _ in range(50):
                visit.writer.write(more)
                await visit.writer.drain()
            await visit.answer(431)


async def pipelining(port: int) -> None:
    """Send many requests behind a call that takes a while, and leave in the middle."""
    async with Visit(port) as visit:
        visit.send("/long", b"{}")
        for _ in range(2000):
            visit.send("/healthz", b"", method="GET")
        await visit.answer(200, *MAYBE)
        for _ in range(CHANCE.randrange(100)):
            await visit.answer(200)
        visit.reset()


async def unread(port: int) -> None:
    """Ask for megabytes and read none of them, until the server gives up."""
    async with Visit(port) as visit:
        visit.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport
        visit.send("/large", b"{}")
        await asyncio.sleep(LONGEST)


async def colliding(port: int) -> None:
    """Send keys that all have the same hash."""
    keys = ",".join(f'"{COLLIDING * (number + 1)}":0' for number in range(20_000))
    async with Visit(port) as visit:
        visit.send("/bias", f'{{"bias":{{{keys}}}}}'.encode())
        await visit.answer(422, *MAYBE)


async def bulky(port: int) -> None:
    """Send a body that is small as bytes and large as objects, or with a fault in each place."""
    element = CHANCE.choice(("[]", '"a"', "{}"))
    async with Visit(port) as visit:
        visit.send("/bias", f'{{"values":[{",".join([element] * 200_000)}]}}'.encode())
        await visit.answer(413, 422, *MAYBE)


async def restless(port: int) -> None:
    """Call again and again without a pause, refused or not."""
    end = asyncio.get_running_loop().time() + 1

    async def one() -> None:
        async with Visit(port) as visit:
            while asyncio.get_running_loop().time() < end:
                visit.send("/", b"{}")
                await visit.answer(200, *MAYBE)

    await asyncio.gather(*(one() for _ in range(40)))


async def half_closing(port: int) -> None:
    """Close the sending side behind a call, and read the answer."""
    async with Visit(port) as visit:
        visit.send("/long", b"{}")
        visit.writer.write_eof()
        async with asyncio.timeout(LONGEST):
            while True:
                status, length = await visit.head()
                if status != 100:  # noqa: PLR2004 - Continue
                    break
            await visit.reader.readexactly(length)
        if status not in (200, *MAYBE):
            raise Unexpected(f"{status}")


# How many visits of each kind begin per second.
ATTACKS: dict[Callable[[int], Awaitable[None]], float] = {
    silent: 4,
    endless_head: 1,
    pipelining: 0.5,
    unread: 0.5,
    colliding: 0.3,
    bulky: 0.3,
    restless: 0.2,
    half_closing: 1,
}
