"""Deliveries kept in an SQLite database, beside the jobs that they are about."""

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from potassium.errors import StoreFailed
from potassium.jobs.sqlite.group_commit import GroupCommit
from potassium.jobs.sqlite.rows import (
    ADD_ATTEMPT,
    ADD_DELIVERY,
    ATTEMPT,
    DELIVERY,
    attempt_of,
    delivery_of,
    row_of,
)
from potassium.webhooks.model import Delivery, DeliveryAttempt

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["SqliteDeliveries"]

DUE = (
    DELIVERY
    + """
    WHERE due_at <= :now
    AND host NOT IN (SELECT value FROM json_each(:hosts))
    AND id NOT IN (SELECT delivery_id FROM taken)
    ORDER BY due_at, seq LIMIT :limit
"""
)

NEXT_DUE = """
    SELECT due_at FROM deliveries
    WHERE due_at IS NOT NULL AND id NOT IN (SELECT delivery_id FROM taken)
    ORDER BY due_at LIMIT 1
"""

# A delivery that was given up meanwhile stays given up.
TRIED = """
    UPDATE deliveries SET attempts = attempts + 1,
        due_at = CASE WHEN due_at IS NULL THEN NULL ELSE :next_at END
    WHERE id = :id RETURNING job_id, due_at
"""

STOP = "UPDATE deliveries SET due_at = NULL WHERE job_id = ? AND due_at IS NOT NULL"

ATTEMPTS = (
    ATTEMPT
    + """
    JOIN deliveries ON deliveries.id = attempts.delivery_id
    WHERE deliveries.job_id = ? ORDER BY at, number
"""
)


class SqliteDeliveries:
    """The half of ``SqliteStore`` that is a ``DeliveryStore``.

    A temporary table lists the deliveries that are taken: it is rolled back with the rest, costs no
    write to the disk, and is gone with the process, so that they are due again.
    """

    _commits: GroupCommit | None = None

    @property
    def _open(self) -> GroupCommit:
        if self._commits is None:
            raise StoreFailed("The store of background jobs is not open.")
        return self._commits

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery."""
        await self._open.run(lambda db: db.execute(ADD_DELIVERY, row_of(delivery)))

    async def take_due(
        self, *, now: float, limit: int, without_hosts: Collection[str]
    ) -> Sequence[Delivery]:
        """Return up to ``limit`` deliveries that are due, in order of their due time."""
        hosts = json.dumps(list(without_hosts))

        async def take(db: "Connection") -> Sequence[Delivery]:
            rows = await db.execute_fetchall(DUE, {"now": now, "hosts": hosts, "limit": limit})
            due = [delivery_of(row) for row in rows]
            if due:
                await db.executemany("INSERT INTO taken VALUES (?)", [(each.id,) for each in due])
            return due

        return await self._open.run(take)

    async def next_due(self) -> float | None:
        """Return when the next delivery that nobody has taken is due, or None if there is none."""
        rows = await self._open.run(lambda db: db.execute_fetchall(NEXT_DUE))
        return next((row["due_at"] for row in rows), None)

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        """Store an attempt at a delivery that was taken, and give the delivery back."""

        async def keep(db: "Connection") -> None:
            await db.execute("DELETE FROM taken WHERE delivery_id = ?", (delivery.id,))
            parameters = {"id": delivery.id, "next_at": attempt.next_at}
            for job_id, due_at in await db.execute_fetchall(TRIED, parameters):
                if job_id is not None:
                    await db.execute(ADD_ATTEMPT, row_of(attempt))
                elif due_at is None:
                    await db.execute("DELETE FROM deliveries WHERE id = ?", (delivery.id,))

        await self._open.run(keep)

    async def stop(self, job_id: str) -> None:
        """Give up all deliveries of a job that have not arrived."""
        await self._open.run(lambda db: db.execute(STOP, (job_id,)))

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver a webhook about a job, in order of time."""
        rows = await self._open.run(lambda db: db.execute_fetchall(ATTEMPTS, (job_id,)))
        return [attempt_of(row) for row in rows]
