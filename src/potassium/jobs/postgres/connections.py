"""A few connections to the database, each used again by whoever comes next."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.pq import TransactionStatus

__all__ = ["PATIENCE", "Connection", "Connections", "close", "cut"]

PATIENCE = 10.0  # seconds until a database that has not answered counts as lost
HURRY = 3.0  # seconds, once the server is stopping
SLOWEST = 4 * 1024 * 1024  # bytes in a second; large values take their time

Connection = AsyncConnection[dict[str, Any]]


class Connections:
    """Connections that are opened when somebody needs one, and kept for the next.

    psycopg's pool opens them in the background, with pauses that grow to minutes while a database
    is away, and those who want one learn only that they have waited in vain. Here, whoever wants
    one gets it or the reason at once. Belongs to the event loop.

    Args:
        connect: opens a connection.
        limit: the maximum number of connections, without urgent ones.

    Attributes:
        is_closed: whether no more are opened.

    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], limit: int) -> None:
        self._connect = connect
        self._places = asyncio.Semaphore(limit)
        self._idle: list[Connection] = []
        self._in_use: dict[Connection, asyncio.TimerHandle] = {}
        self._is_hurried = False
        self.is_closed = False

    @asynccontextmanager
    async def one(self, *, size: int = 0, is_urgent: bool = False) -> AsyncIterator[Connection]:
        """Return a connection in autocommit mode; whatever fails, it is not used again.

        If the database does not answer in time, the connection is cut: what is under way fails with
        an ``OperationalError``, even where the network swallows everything.

        Args:
            size: bytes that are sent or received; ``PATIENCE`` is longer by what they may take.
            is_urgent: whether not to wait for others.

        Raises:
            TimeoutError: all connections are in use all the time.

        """
        if not is_urgent:
            async with asyncio.timeout(HURRY if self._is_hurried else PATIENCE):
                await self._places.acquire()
        try:
            connection = await self._open()
            self._in_use[connection] = self._timer(connection, size / SLOWEST)
            try:
                yield connection
            except BaseException:
                await close(connection)
                raise
            finally:
                self._in_use.pop(connection).cancel()
            if self.is_closed or connection.info.transaction_status is not TransactionStatus.IDLE:
                await close(connection)
            else:
                self._idle.append(connection)
        finally:
            if not is_urgent:
                self._places.release()

    async def _open(self) -> Connection:
        connection = None
        if not self.is_closed:
            async with asyncio.timeout(HURRY if self._is_hurried else None):
                connection = self._idle.pop() if self._idle else await self._connect()
        if connection is None or self.is_closed:
            if connection is not None:
                await close(connection)
            raise OperationalError("the store is closed")
        return connection

    def _timer(self, connection: Connection, more: float) -> asyncio.TimerHandle:
        """Return what lets a use of a connection fail that takes ``more`` than usual."""
        loop = asyncio.get_running_loop()
        if self._is_hurried:
            return loop.call_later(HURRY + more, self.cut_all)
        return loop.call_later(PATIENCE + more, cut, connection)

    def reopen(self) -> None:
        """Open connections again, if they were closed."""
        self.is_closed = self._is_hurried = False

    def hurry(self) -> None:
        """If the database does not answer soon from now on, let everything fail."""
        self._is_hurried = True
        for connection, timer in self._in_use.items():
            more = timer.when() - asyncio.get_running_loop().time() - PATIENCE
            timer.cancel()
            self._in_use[connection] = self._timer(connection, max(0.0, more))

    async def forget(self) -> None:
        """Close the connections that nobody uses: one was broken, so these may be, too."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await close(connection)

    def cut_all(self) -> None:
        """Let everything that is under way fail, and whatever comes."""
        self.is_closed = True
        for connection in self._in_use:
            cut(connection)


def cut(connection: Connection) -> None:
    """Let whatever waits for the server on this connection fail.

    A wait of psycopg that is cancelled goes on until the server has heard of it. This one ends as
    soon as the socket does.
    """
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


async def close(connection: Connection) -> None:
    """Close a connection, whatever state it is in."""
    with suppress(Exception):
        await connection.close()
