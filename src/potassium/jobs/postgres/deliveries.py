"""Deliveries kept in a PostgreSQL database, beside the jobs that they are about."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from potassium.jobs.postgres import lines
from potassium.jobs.postgres.database import Connection, Database
from potassium.jobs.postgres.lane import Lane
from potassium.jobs.postgres.news import News
from potassium.jobs.postgres.rows import ATTEMPT, attempt_of, row_of, text_in
from potassium.jobs.postgres.servers import Server
from potassium.jobs.room import OVERHEAD, Room
from potassium.webhooks.model import Delivery, DeliveryAttempt, Full
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["PostgresDeliveries"]


def _insert(table: str, columns: Sequence[str]) -> bytes:
    values = ", ".join(f"%({name})s" for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})".encode()


ADD = _insert("deliveries", [*(field.name for field in fields(Delivery)), "host", "owner"])
_ATTEMPT = [field.name for field in fields(DeliveryAttempt)]
ADD_ATTEMPT = f"""
    INSERT INTO attempts ({", ".join(_ATTEMPT)})
    SELECT {", ".join(f"%({name})s" for name in _ATTEMPT)} WHERE NOT EXISTS (
        SELECT FROM attempts WHERE delivery_id = %(delivery_id)s AND at = %(at)s
    )
""".encode()

# A delivery that was given up meanwhile stays given up. Another server may have taken it up after
# this one lost its lease, and keeps it. An attempt may be stored twice: the first answer was lost.
TRIED = b"""
    UPDATE deliveries SET attempts = greatest(attempts, %(number)s),
        due_at = CASE WHEN due_at IS NULL THEN NULL ELSE %(next_at)s::float8 END,
        taken_by = nullif(taken_by, %(server)s),
        is_in_line = is_in_line AND taken_by IS DISTINCT FROM %(server)s
    WHERE id = %(id)s RETURNING job_id, due_at
"""
UNTAKE = b"""
    UPDATE deliveries SET taken_by = NULL, is_in_line = false
    WHERE id = ANY(%(ids)s) AND taken_by = %(server)s
"""
DROP = b"DELETE FROM deliveries WHERE id = %s"
STOP = b"""
    UPDATE deliveries SET due_at = NULL
    WHERE job_id = %s AND due_at IS NOT NULL AND url = %s AND is_guarded = %s
"""
UNDELIVERED = b"SELECT count(*) AS count FROM deliveries WHERE due_at IS NOT NULL"
ATTEMPTS = f"""
    SELECT {ATTEMPT} FROM attempts JOIN deliveries ON deliveries.id = attempts.delivery_id
    WHERE deliveries.job_id = %s ORDER BY at, number
""".encode()


class PostgresDeliveries:
    """The half of ``PostgresStore`` that is a ``DeliveryStore``."""

    dropped = 0  # it has room as long as the disk has

    clock: SteadyClock
    _database: Database
    _server: Server
    _news: News
    _posts: Lane
    _room: Room

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery.

        Raises:
            StoreFull: the store has no room for it.

        """
        self._room.check(len(delivery.body) + OVERHEAD, jobs=0)

        async def add(connection: Connection) -> tuple[None, bool]:
            await connection.execute(ADD, row_of(delivery))
            await self._news.tell_posted(connection)
            return None, True

        await self._posts.run(add)

    async def take_due(
        self, *, is_guarded: bool, now: float, limit: int, full: Full, each: int = 1
    ) -> Sequence[Delivery]:
        """Take one due delivery of each of the next ``limit`` owners; of a single one, ``each``."""

        async def take(connection: Connection) -> tuple[Sequence[Delivery], bool]:
            taken = await lines.take(
                connection,
                schema=self._database.schema,
                server=self._server.id,
                is_guarded=is_guarded,
                now=now,
                limit=limit,
                full=full,
                each=each,
            )
            return taken, True

        return await self._posts.run(take, undo=self._untake)

    async def _untake(self, connection: Connection, taken: Sequence[Delivery]) -> None:
        """Give deliveries back, as nobody has waited for them."""
        given = {"server": self._server.id, "ids": [text_in(delivery.id) for delivery in taken]}
        await connection.execute(UNTAKE, given)

    async def next_due(self, *, is_guarded: bool, full: Full) -> float | None:
        """Return when the next turn of one side comes, or None if nothing waits."""
        return await self._database.read(
            lambda connection: lines.next_turn(connection, is_guarded=is_guarded, full=full)
        )

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        """Store an attempt at a delivery that was taken, and give the delivery back."""
        values = {
            "id": text_in(delivery.id),
            "next_at": attempt.next_at,
            "number": attempt.number,
            "server": self._server.id,
        }

        async def keep(connection: Connection) -> tuple[None, bool]:
            row = await (await connection.execute(TRIED, values)).fetchone()
            if row is None:
                return None, False
            if row["job_id"] is not None:
                await connection.execute(ADD_ATTEMPT, row_of(attempt))
            elif row["due_at"] is None:
                await connection.execute(DROP, (values["id"],))
            return None, True

        await self._posts.run(keep)

    async def stop(self, delivery: Delivery) -> None:
        """Give up what has not arrived of the same job at the same URL, on the same side."""
        same = (delivery.job_id, delivery.url, delivery.is_guarded)

        async def stop(connection: Connection) -> tuple[None, bool]:
            await connection.execute(STOP, same)
            return None, True

        await self._posts.run(stop)

    async def undelivered(self) -> int:
        """Return how many deliveries have neither arrived nor been given up."""
        return int((await self._row(UNDELIVERED))["count"])

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver a webhook about a job, in order of time."""
        return [attempt_of(row) for row in await self._rows(ATTEMPTS, (text_in(job_id),))]

    async def _rows(
        self,
        statement: bytes,
        values: Mapping[str, Any] | Sequence[Any] = (),
        *,
        size: int = 0,
    ) -> Sequence[dict[str, Any]]:
        async def ask(connection: Connection) -> Sequence[dict[str, Any]]:
            return await (await connection.execute(statement, values)).fetchall()

        return await self._database.read(ask, size=size)

    async def _row(
        self, statement: bytes, values: Mapping[str, Any] | Sequence[Any] = ()
    ) -> dict[str, Any]:
        """Return the one row of a statement that has always one."""
        (row,) = await self._rows(statement, values)
        return row
