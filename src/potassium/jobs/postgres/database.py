"""The database of ``PostgresStore``: how it is opened, and whether it can be used."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from potassium.errors import PotassiumError, UsageError
from potassium.jobs.postgres.address import Address, may_come_up
from potassium.jobs.postgres.connections import Connection, Connections
from potassium.jobs.postgres.faults import (
    failed,
    fault_of,
    is_of_the_connection,
    is_of_the_database,
)
from potassium.jobs.postgres.schema import MIGRATIONS

__all__ = ["Connection", "Database"]

T = TypeVar("T")

LONGEST_CONNECT = 10.0  # seconds, whatever ``CONNECT_TIME`` is, and however many hosts there are
OPEN_TIME = 15.0  # seconds that a database has to come up in when the app starts
AGAIN = 0.5  # seconds until it is asked again then
MOST_CONNECTIONS = 8
LOG_EVERY = 60.0  # seconds; while the database is away everything fails
OLDEST = 140000  # the version of PostgreSQL

MIGRATING = "SELECT pg_advisory_xact_lock(hashtextextended('potassium ' || %s, 0))"
# Neither is created where it exists: not every user of a database may.
EXISTS = "SELECT to_regnamespace(%s) IS NOT NULL AS schema, to_regclass(%s) IS NOT NULL AS version"
NEW_VERSION = "CREATE TABLE potassium (version integer NOT NULL)"

logger = logging.getLogger("potassium.jobs")


class Database:
    """A schema of a PostgreSQL database. Belongs to the event loop that opened it.

    Args:
        url: that of the database.
        schema: the name of the schema.
        app: the name of the app.

    Attributes:
        fault: why the database cannot be used, until it can; None while it can.
        schema: the name of the schema.
        name: that of the connections in the database's list of those; no others have it.

    """

    def __init__(self, url: str, schema: str, app: str) -> None:
        self.fault: str | None = None
        self.schema = schema
        self.name = f"{_ascii(app)[:40]} {secrets.token_hex(8)}"
        self._address = Address(url)
        self._connections = Connections(self.connect, MOST_CONNECTIONS)
        self._logged_at: float | None = None
        self._is_said = False

    async def open(self) -> None:
        """Wait until the database is up, and create or migrate the tables.

        Raises:
            UsageError: the database cannot be used, is too old, or holds something newer.

        """
        give_up_at = time.monotonic() + OPEN_TIME
        is_told = False
        self._connections.reopen()
        while True:
            try:
                async with self._connections.one() as connection:
                    return await self._migrate(connection)
            except (psycopg.Error, OSError) as error:
                if not may_come_up(error) or time.monotonic() > give_up_at:
                    raise self.refused(error) from error
                if not is_told:
                    logger.warning("the PostgreSQL database is not up yet: %s", str(error).strip())
                is_told = True
            await asyncio.sleep(AGAIN)

    def refused(self, error: Exception) -> UsageError:
        """Return what to say if the database cannot be used, because of ``error``."""
        return self._address.refused(error, self.schema)

    async def close(self) -> None:
        """Close all connections."""
        self._connections.cut_all()
        await self._connections.forget()

    def hurry(self) -> None:
        """If the database does not answer soon from now on, let everything fail."""
        self._connections.hurry()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be done."""
        return self._connections.is_closed

    async def connect(self) -> Connection:
        """Return a new connection in autocommit mode, whose statements find the tables."""
        parameters = self._address.parameters(self.schema, self.name)
        async with asyncio.timeout(LONGEST_CONNECT):
            return await AsyncConnection.connect(
                autocommit=True, row_factory=dict_row, **parameters
            )

    async def read(
        self,
        ask: Callable[[Connection], Awaitable[T]],
        *,
        size: int = 0,
        is_urgent: bool = False,
    ) -> T:
        """Return what ``ask`` reads, which may be called twice.

        Args:
            ask: reads it.
            size: how many bytes that may be.
            is_urgent: whether not to wait for others.

        Raises:
            StoreFailed: the database does not answer.

        """
        try:
            return await self.attempt(ask, size=size, is_urgent=is_urgent)
        except Exception as error:
            if not is_of_the_connection(error):
                self.note(error)
                raise failed(error) from error
        try:  # the connection may just have been an old one
            return await self.attempt(ask, size=size, is_urgent=is_urgent)
        except Exception as error:
            self.note(error)
            raise failed(error) from error

    async def attempt(
        self,
        do: Callable[[Connection], Awaitable[T]],
        *,
        size: int = 0,
        is_urgent: bool = False,
    ) -> T:
        """Return what ``do`` returns, which is called once; raise what it raises."""
        try:
            async with self._connections.one(size=size, is_urgent=is_urgent) as connection:
                result = await do(connection)
        except PotassiumError:
            raise
        except BaseException as error:
            if is_of_the_database(error):
                await self._connections.forget()
            raise
        return result

    def note(self, error: BaseException) -> None:
        """Note that the database cannot be used, if that is what an error says."""
        if is_of_the_database(error):
            self.fault = fault_of(error)
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY:
            self._logged_at, self._is_said = now, True
            logger.error("background jobs cannot be stored: %s", str(error).strip() or repr(error))

    def works(self) -> None:
        """Note that the database can be used."""
        if self.fault is not None:
            self.fault = None
            if self._is_said:  # a disk that is nearly full takes one thing and not the other
                self._is_said = False
                logger.warning("background jobs can be stored again")

    async def _migrate(self, connection: Connection) -> None:
        if connection.info.server_version < OLDEST:
            found = connection.info.parameter_status("server_version")
            raise UsageError(f"Jobs(url=...) needs PostgreSQL 14 or newer; this is {found}.")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise UsageError(
                f"Jobs(url=...) needs a database with the encoding UTF8, not {encoding}: "
                "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0."
            )
        async with connection.transaction():
            await connection.execute(MIGRATING, (self.schema,))  # other servers start, too
            version = await self._version(connection)
            if version > len(MIGRATIONS):
                raise UsageError(
                    f"the schema {self.schema} was written by a newer version of Potassium; "
                    "install that version, or choose another schema with Jobs(schema=...)."
                )
            if version == len(MIGRATIONS):
                return
            for script in MIGRATIONS[version:]:
                await connection.execute(script.encode())
            await connection.execute("DELETE FROM potassium")
            await connection.execute("INSERT INTO potassium VALUES (%s)", (len(MIGRATIONS),))

    async def _version(self, connection: Connection) -> int:
        """Return the version of the tables, 0 if there are none."""
        names = (self.schema, f"{self.schema}.potassium")
        exists = await (await connection.execute(EXISTS, names)).fetchone()
        if not exists or not exists["schema"]:
            await connection.execute(f'CREATE SCHEMA "{self.schema}"'.encode())
        if not exists or not exists["version"]:
            await connection.execute(NEW_VERSION)
        row = await (await connection.execute("SELECT version FROM potassium")).fetchone()
        return row["version"] if row else 0


def _ascii(text: str) -> str:
    return "".join(one if " " <= one <= "~" else "?" for one in text)
