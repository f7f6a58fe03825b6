"""The servers that share a store, each of which has a lease on all that it has claimed.

    alive ──renews──> alive
      │
      └─its lease has ended─> inherited by another server ──nothing is left──> gone

A server that dies, hangs, or cannot reach the database loses its lease. Another one inherits what
it has left: jobs are queued again, webhooks are due again, and its connections are closed. If the
first one was alive after all, it finds that it has lost everything, and goes on under a new id.

A server inherits from others only after it has been in touch with the database for the length of a
lease: when the database was away, the leases of all have ended, and none of them has died. All of
this is told by the clock of the database.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from potassium.errors import StoreFailed
from potassium.jobs.postgres.clock import DatabaseClock
from potassium.jobs.postgres.database import Connection, Database

__all__ = ["Beat", "Server"]

BEAT = 1.0  # seconds between two renewals, or a fifth of the lease

ENTER = """
    INSERT INTO servers
    VALUES (%(id)s, %(name)s, clock_timestamp() + %(lease)s * interval '1 s', clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
    RETURNING extract(epoch FROM clock_timestamp())::double precision AS now
"""
# Only a lease that is renewed long before it ends is one that the server has had all the time.
RENEW = """
    WITH renewed AS (
        UPDATE servers SET lease_until = clock_timestamp() + %(lease)s * interval '1 s',
            in_touch_since = CASE
                WHEN clock_timestamp() < lease_until - %(lease)s / 2 * interval '1 s'
                THEN in_touch_since ELSE clock_timestamp() END
        WHERE id = %(id)s AND heir IS NULL RETURNING id
    )
    SELECT
        EXISTS (SELECT FROM renewed) AS is_renewed,
        extract(epoch FROM clock_timestamp())::double precision AS now,
        EXISTS (
            SELECT FROM jobs WHERE is_due = 2 AND handler = ANY(%(handlers)s)
        ) AS has_suspects,
        EXISTS (
            SELECT FROM jobs WHERE handler = ANY(%(handlers)s)
            AND (is_due = 1 OR is_due = 0 AND due_at <= %(now)s)
        ) AS has_jobs,
        EXISTS (
            SELECT FROM deliveries
            WHERE due_at IS NOT NULL AND NOT is_in_line AND due_at <= %(now)s
        ) OR EXISTS (
            SELECT FROM owners WHERE is_guarded IN (false, true) AND turn_at <= %(now)s
        ) AS has_deliveries,
        ARRAY(
            SELECT id FROM jobs
            WHERE status = 'running' AND claimant = %(id)s AND is_asked_to_end
        ) AS asked_to_end
"""
# What a server has inherited goes with it to its own heir.
INHERIT = """
    WITH dead AS (
        SELECT id FROM servers WHERE id <> %(id)s AND CASE
            WHEN heir IS NULL THEN lease_until < clock_timestamp()
            ELSE NOT EXISTS (SELECT FROM servers AS own WHERE own.id = servers.heir
                             AND own.heir IS NULL) END
        AND EXISTS (
            SELECT FROM servers WHERE id = %(id)s AND heir IS NULL
            AND in_touch_since < clock_timestamp() - %(lease)s * interval '1 s'
            AND lease_until > clock_timestamp() + %(lease)s / 2 * interval '1 s'
        )
        FOR UPDATE SKIP LOCKED
    ), inherited AS (
        UPDATE servers SET heir = %(id)s FROM dead WHERE servers.id = dead.id
        RETURNING servers.id, servers.name
    ), released AS (
        UPDATE deliveries SET taken_by = NULL, is_in_line = false
        FROM inherited WHERE taken_by = inherited.id
    )
    SELECT name FROM inherited
"""
# One that stands still may do so in the middle of a transaction, and hold locks. If it may not be
# ended, the others wait for it. One that goes on already, under a new id, holds up nobody.
END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = ANY(%(names)s) AND usename = current_user
    AND NOT EXISTS (SELECT FROM servers WHERE name = application_name AND heir IS NULL)
"""
# By then, nothing of it can be under way, and it need not find out any more what was committed.
FORGET = """
    WITH gone AS (
        DELETE FROM servers WHERE heir IS NOT NULL
        AND lease_until < clock_timestamp() - (%(lease)s + 60) * interval '1 s'
        AND NOT EXISTS (SELECT FROM jobs WHERE status = 'running' AND claimant = servers.id)
        AND NOT EXISTS (SELECT FROM deliveries WHERE taken_by = servers.id)
        RETURNING id
    )
    DELETE FROM commits
    WHERE server NOT IN (SELECT id FROM servers) OR server IN (SELECT id FROM gone)
"""
# What it could not store is taken up by others at once.
LEAVE = "UPDATE servers SET lease_until = clock_timestamp() - interval '1 s' WHERE id = %(id)s"

logger = logging.getLogger("potassium.jobs")


class Beat:
    """What a server learns each time that it renews its lease."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.is_renewed: bool = row["is_renewed"]
        self.has_suspects: bool = row["has_suspects"]
        self.has_jobs: bool = row["has_jobs"]
        self.has_deliveries: bool = row["has_deliveries"]
        self.asked_to_end: list[str] = row["asked_to_end"]


class Server:
    """One server among those that share the store. Belongs to the event loop.

    Args:
        database: where the servers are.
        lease: seconds for which it may be silent.
        clock: is set by that of the database.

    Attributes:
        id: what names it until it loses its lease; empty before it has one.
        handlers: those whose jobs it runs.

    """

    def __init__(self, database: Database, lease: float, clock: DatabaseClock) -> None:
        self.id = ""
        self.handlers: set[str] = set()
        self._database = database
        self._lease = lease
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> None:
        """Begin a lease under a new id, and set the clock.

        Raises:
            StoreFailed: the database does not answer.

        """
        new = secrets.token_hex(8)
        asked_at = self._clock()
        rows = await self._execute(ENTER, id=new, name=self._database.name)
        self._clock.follow(rows[0]["now"], asked_at=asked_at)
        self.id = new

    def start(self, beat: Callable[[Beat], Awaitable[None]]) -> None:
        """Renew the lease and set the clock from now on, and call ``beat`` each time."""
        self._task = asyncio.create_task(self._renew_on(beat), name="potassium-job-lease")

    async def leave(self) -> None:
        """End the lease."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        with suppress(StoreFailed):  # then it ends by itself
            await self._execute(LEAVE)

    async def inherit(self) -> None:
        """Take over what servers whose leases have ended have left.

        Raises:
            StoreFailed: the database does not answer.

        """
        names = [row["name"] for row in await self._execute(INHERIT)]
        if names:
            with suppress(StoreFailed):
                await self._execute(END_SESSIONS, names=names)
        await self._execute(FORGET)

    async def _renew_on(self, beat: Callable[[Beat], Awaitable[None]]) -> None:
        pause = min(BEAT, self._lease / 5)
        has_failed = False
        while True:
            began = time.monotonic()
            try:
                found = await self.renew()
                self._database.works()
                if not found.is_renewed:
                    await self.enter()
                await beat(found)
                has_failed = False
            except StoreFailed:  # the database has said why
                pass
            except Exception:  # whatever it is, the next one may succeed
                if not has_failed:
                    logger.exception("the lease on background jobs was not renewed")
                has_failed = True
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

    async def renew(self) -> Beat:
        """Renew the lease, and set the clock.

        Raises:
            StoreFailed: the database does not answer.

        """
        asked_at = self._clock()
        rows = await self._execute(RENEW, now=asked_at, handlers=[*self.handlers])
        self._clock.follow(rows[0]["now"], asked_at=asked_at)
        return Beat(rows[0])

    async def _execute(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        given = {"id": self.id, "lease": self._lease, **values}

        async def execute(connection: Connection) -> list[dict[str, Any]]:
            cursor = await connection.execute(statement.encode(), given)
            return await cursor.fetchall() if cursor.description else []

        return await self._database.read(execute, is_urgent=True)
