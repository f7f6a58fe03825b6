"""Transactions of one server that follow one another, each of which is known to have happened."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import psycopg

from potassium.errors import PotassiumError, StoreFailed
from potassium.jobs.postgres.database import Connection, Database
from potassium.jobs.postgres.faults import (
    failed,
    is_of_the_connection,
    is_of_the_database,
    may_be_repeated,
)
from potassium.jobs.postgres.servers import Server

__all__ = ["Lane", "Refused"]

T = TypeVar("T")

FIND_OUT = 10.0  # seconds for which a commit whose outcome is unknown is inquired about
AGAIN = 0.2  # seconds between two inquiries
MOST_TIMES = 5  # that a transaction is tried, if others stand in its way

# The number only grows: where a later one is found, the transaction fails, as NULL is not allowed.
MARK = """
    INSERT INTO commits VALUES (%s, %s, %s)
    ON CONFLICT (server, lane) DO UPDATE SET number =
        CASE WHEN commits.number < excluded.number THEN excluded.number END
"""
# A transaction that is still under way has the row locked: this waits until it is over. If the
# database has not even begun with its commit, it can no longer happen: this number is a later one.
# Asked again after its answer was lost, it still tells which number it has found.
INQUIRE = """
    INSERT INTO commits VALUES (%s, %s, %s)
    ON CONFLICT (server, lane) DO UPDATE SET number = excluded.number, found =
        CASE commits.number WHEN excluded.number THEN commits.found ELSE commits.number END
    RETURNING found
"""

# Its session may go on for hours where the network has swallowed the end of the connection.
END_SESSION = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = %s AND application_name = %s AND usename = current_user
"""


class Refused(StoreFailed):
    """Nothing was stored because of what was asked for; the database itself works."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A transaction of which nobody could tell whether it has happened.

    Attributes:
        server: the id that its server had.
        number: what it leaves behind.
        session: the process of the database that has run it.
        undo: takes back what nobody has waited for.

    """

    server: str
    number: int
    session: int
    undo: Callable[[Connection], Awaitable[object]] | None


class Lane:
    """Runs transactions one after the other, and finds out what became of each.

    If the connection is lost while a commit is under way, nobody says whether it has happened. So
    each transaction leaves its number behind, and what is found there afterwards tells. No other
    transaction runs before. Belongs to the event loop.

    Args:
        database: where they run.
        server: whose they are.
        name: tells the lanes of a server apart.

    """

    def __init__(self, database: Database, server: Server, name: str) -> None:
        self._database = database
        self._server = server
        self._name = name
        self._number = 0
        self._lock = asyncio.Lock()
        self._doubt: _Doubt | None = None

    async def run(
        self,
        do: Callable[[Connection], Awaitable[tuple[T, bool]]],
        *,
        undo: Callable[[Connection, T], Awaitable[object]] | None = None,
        size: int = 0,
    ) -> T:
        """Run ``do`` in a transaction, in pipeline mode, and return its result.

        Args:
            do: returns its result, and whether it has written anything; it may run several times.
                It may raise a ``PotassiumError`` of its own, and nothing is stored then.
            undo: takes the result of ``do`` back, if it turns out to be stored after ``run`` has
                failed.
            size: bytes that are sent or received.

        Raises:
            StoreFailed: nothing was stored; or nobody could find out in time.
            Refused: nothing was stored, because of what ``do`` asked for.

        """
        async with self._lock:
            if self._database.fault is not None:
                raise failed()
            if self._doubt is not None:
                await self._settle(self._doubt)
            may_reconnect = True  # the connection may just have been an old one
            for left in reversed(range(MOST_TIMES)):
                try:
                    return await self._once(do, undo, size)
                except PotassiumError:
                    raise
                except Exception as error:
                    if left and may_be_repeated(error):
                        continue
                    if left and may_reconnect and is_of_the_connection(error):
                        may_reconnect = False
                        continue
                    self._database.note(error)
                    if is_of_the_database(error):
                        raise failed(error) from error
                    raise Refused("The database refused to store something.") from error
        raise AssertionError

    async def _once(
        self,
        do: Callable[[Connection], Awaitable[tuple[T, bool]]],
        undo: Callable[[Connection, T], Awaitable[object]] | None,
        size: int,
    ) -> T:
        self._number += 1
        server, number = self._server.id, self._number
        committing: list[tuple[T, int]] = []  # the result, and the session

        async def transact(connection: Connection) -> T:
            async with connection.pipeline():
                await connection.execute("BEGIN")
                result, has_written = await do(connection)
            if not has_written:
                await connection.execute("ROLLBACK")
                return result
            committing.append((result, connection.info.backend_pid))
            async with connection.pipeline():
                await connection.execute(MARK, (server, self._name, number))
                await connection.execute("COMMIT")
            return result

        try:
            return await self._database.attempt(transact, size=size)
        except BaseException as error:
            is_doubtful = is_of_the_database(error) or not isinstance(error, Exception)
            if not committing or not is_doubtful:
                raise
            ((result, session),) = committing
            take_back = None if undo is None else partial(_take_back, undo, result)
            self._doubt = _Doubt(server, number, session, take_back)
            if not isinstance(error, Exception):
                raise  # it was cancelled
            self._database.note(error)
            if await self._has_happened(self._doubt, error):
                self._doubt = None
                return result
            self._doubt = None
            raise

    async def _settle(self, doubt: _Doubt) -> None:
        """Find out what became of a transaction that was given up on, and take it back."""
        undo = doubt.undo
        if await self._has_happened(doubt, failed()) and undo is not None:

            async def take_back(connection: Connection) -> None:
                async with connection.transaction():
                    await undo(connection)

            try:
                await self._database.attempt(take_back)
            except Exception as error:
                self._database.note(error)
                raise failed(error) from error
        self._doubt = None

    async def _has_happened(self, doubt: _Doubt, error: Exception) -> bool:
        """Return whether a transaction was committed; if it was not, it never will be.

        Raises:
            StoreFailed: nobody could say.

        """
        give_up_at = time.monotonic() + FIND_OUT
        self._number = doubt.number + 1

        async def found(connection: Connection) -> int | None:
            with suppress(psycopg.errors.InsufficientPrivilege):
                await connection.execute(END_SESSION, (doubt.session, self._database.name))
            asked = (doubt.server, self._name, doubt.number + 1)
            row = await (await connection.execute(INQUIRE, asked)).fetchone()
            return row["found"] if row is not None else None

        while True:
            try:
                number = await self._database.attempt(found)
            except Exception:  # noqa: BLE001 - whatever it is, the answer may come later
                if self._database.is_closed or time.monotonic() > give_up_at:
                    raise failed(error) from error
                await asyncio.sleep(AGAIN)
            else:
                self._database.works()
                return number == doubt.number


async def _take_back(
    undo: Callable[[Connection, T], Awaitable[object]], result: T, connection: Connection
) -> None:
    await undo(connection, result)
