"""Deliveries kept in an SQLite database, beside the jobs that they are about."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from potassium.errors import StoreFailed
from potassium.jobs.room import OVERHEAD, Room
from potassium.jobs.sqlite import lines
from potassium.jobs.sqlite.group_commit import GroupCommit
from potassium.jobs.sqlite.rows import (
    ADD_ATTEMPT,
    ADD_DELIVERY,
    ATTEMPT,
    attempt_of,
    row_of,
)
from potassium.webhooks.model import Delivery, DeliveryAttempt, Full
from potassium.webhooks.steady_clock import SteadyClock

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["SqliteDeliveries"]

# A delivery that was given up meanwhile stays given up.
TRIED = """
    UPDATE deliveries SET attempts = attempts + 1,
        due_at = CASE WHEN due_at IS NULL THEN NULL ELSE :next_at END
    WHERE id = :id RETURNING job_id, due_at
"""

STOP = """
    UPDATE deliveries SET due_at = NULL
    WHERE job_id = ? AND due_at IS NOT NULL AND url = ? AND is_guarded = ?
"""

UNDELIVERED = "SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL"

ATTEMPTS = (
    ATTEMPT
    + """
    JOIN deliveries ON deliveries.id = attempts.delivery_id
    WHERE deliveries.job_id = ? ORDER BY at, number
"""
)


class SqliteDeliveries:
    """The half of ``SqliteStore`` that is a ``DeliveryStore``."""

    dropped = 0  # it has room as long as the disk has

    _commits: GroupCommit | None = None
    _room: Room
    clock: SteadyClock

    @property
    def _open(self) -> GroupCommit:
        if self._commits is None:
            raise StoreFailed("The store of background jobs is not open.")
        return self._commits

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery.

        Raises:
            StoreFull: the store has no room for it.

        """
        self._room.check(len(delivery.body) + OVERHEAD, jobs=0)
        await self._open.run(lambda db: db.execute(ADD_DELIVERY, row_of(delivery)))

    async def take_due(
        self, *, is_guarded: bool, now: float, limit: int, full: Full, each: int = 1
    ) -> Sequence[Delivery]:
        """Take one due delivery of each of the next ``limit`` owners; of a single one, ``each``."""
        return await self._open.run(
            lambda db: lines.take(
                db, is_guarded=is_guarded, now=now, limit=limit, full=full, each=each
            )
        )

    async def next_due(self, *, is_guarded: bool, full: Full) -> float | None:
        """Return when the next turn of one side comes, or None if nothing waits."""
        return await self._open.run(
            lambda db: lines.next_turn(db, is_guarded=is_guarded, full=full)
        )

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

    async def stop(self, delivery: Delivery) -> None:
        """Give up what has not arrived of the same job at the same URL, on the same side."""
        same = (delivery.job_id, delivery.url, delivery.is_guarded)
        await self._open.run(lambda db: db.execute(STOP, same))

    async def undelivered(self) -> int:
        """Return how many deliveries have neither arrived nor been given up."""
        ((count,),) = await self._open.run(lambda db: db.execute_fetchall(UNDELIVERED))
        return int(count)

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver a webhook about a job, in order of time."""
        rows = await self._open.run(lambda db: db.execute_fetchall(ATTEMPTS, (job_id,)))
        return [attempt_of(row) for row in rows]
