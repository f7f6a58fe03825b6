"""What ``SqliteStore`` only reads."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from potassium.jobs.model import Census, Event, NewJob, Status, StoredJob, same_or_refused
from potassium.jobs.order import rank
from potassium.jobs.room import FULL_PAUSE
from potassium.jobs.sqlite import statements
from potassium.jobs.sqlite.deliveries import SqliteDeliveries
from potassium.jobs.sqlite.rows import job_of
from potassium.jobs.store import EVENTS_BYTES
from potassium.jobs.unshared import Unshared

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["SqliteQueries", "known_job"]


async def known_job(db: "Connection", job: NewJob) -> StoredJob | None:
    """Return the job that has the idempotency key of ``job`` already, or None."""
    key = (job.owner, job.handler, job.idempotency_key)
    for row in await db.execute_fetchall(statements.BY_KEY, key):
        return same_or_refused(job_of(row), job)
    return None


class SqliteQueries(Unshared, SqliteDeliveries):
    """The part of ``SqliteStore`` that only reads."""

    _was_left_behind = True  # there may be jobs that were running when the file was opened

    async def known(self, job: NewJob) -> StoredJob | None:
        """Return the job that has the idempotency key of ``job`` already, or None."""
        return await self._open.run(lambda db: known_job(db, job))

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job without its input and output, or None if it does not exist.

        Those who ask for the same job at the same time share one query.
        """

        async def get(db: "Connection") -> StoredJob | None:
            rows = await db.execute_fetchall(statements.BY_ID, (job_id,))
            return next(map(job_of, rows), None)

        return await self._open.share(f"job {job_id}", get)

    async def output(self, job_id: str) -> bytes | None:
        """Return the output of a job, or None if it has none.

        Those who ask for the same job at the same time share one query, and one output.
        """

        async def output(db: "Connection") -> bytes | None:
            rows = await db.execute_fetchall(statements.OUTPUT, (job_id,))
            return next((row["output"] for row in rows), None)

        return await self._open.share(f"output {job_id}", output)

    async def find(
        self,
        *,
        status: Status | None = None,
        owner: str | None = None,
        limit: int,
        after: str | None = None,
    ) -> Sequence[StoredJob]:
        """Return up to ``limit`` jobs, newest first; with ``after``, only those older than it."""
        if owner is None:
            statement = statements.FIND if status is None else statements.FIND_STATUS
        else:
            statement = statements.FIND_OWN if status is None else statements.FIND_OWN_STATUS
        wanted = {"owner": owner, "status": status and status.value, "limit": limit, "after": after}
        return await self._jobs(statement, wanted)

    async def position(self, job: StoredJob) -> int:
        """Return the position of a queued job among those of its handler, from 1.

        Takes longer the more jobs are before it: milliseconds for 100 000.
        """
        place = {"handler": job.handler, "rank": rank(job), "seq": job.seq}
        return int(await self._value(statements.BEFORE, place)) + 1

    async def count(self, status: Status, handler: str | None = None) -> int:
        """Return how many jobs have a status, of all handlers or of one."""
        wanted = {"status": status.value, "handler": handler}

        async def count(db: "Connection") -> int:
            ((jobs,),) = await db.execute_fetchall(statements.COUNT, wanted)
            return int(jobs)

        return await self._open.share(f"count {status} {handler}", count)

    async def census(self) -> Census:
        """Return how many jobs there are of each handler and status."""

        async def census(db: "Connection") -> Census:
            counts = await db.execute_fetchall(statements.COUNTS)
            oldest = {}
            for status in (Status.QUEUED, Status.RUNNING):
                for row in await db.execute_fetchall(statements.OLDEST, (status.value,)):
                    oldest[status] = row["created_at"]
            jobs = {(row["handler"], Status(row["status"])): row["jobs"] for row in counts}
            return Census(jobs=jobs, oldest=oldest)

        return await self._open.share("census", census)

    async def waiting(self) -> Collection[str]:
        """Return the handlers that have queued jobs."""
        rows = await self._open.run(lambda db: db.execute_fetchall(statements.WAITING))
        return [row["handler"] for row in rows]

    async def next_job(self, handlers: Collection[str]) -> float | None:
        """Return when the next queued job of ``handlers`` is due, or None if there is none."""
        if not self._room.may_begin():
            return self.clock() + FULL_PAUSE
        due: float | None = await self._value(
            statements.NEXT_JOB, {"handlers": json.dumps(list(handlers))}
        )
        return due

    async def left_behind(self) -> Sequence[Sequence[StoredJob]]:
        """Return the jobs that were running when the file was opened and still are."""
        left = await self._jobs(statements.LEFT_BEHIND) if self._was_left_behind else ()
        self._was_left_behind = bool(left)
        return [left] if left else ()

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to ``limit`` events of a job, starting after the event ``after``."""
        wanted = {"job_id": job_id, "after": after, "limit": limit, "most": EVENTS_BYTES}
        rows = await self._open.run(lambda db: db.execute_fetchall(statements.EVENTS, wanted))
        return [Event(**dict(row)) for row in rows]

    async def last_event(self, job_id: str) -> int:
        """Return the id of a job's last event, or 0 if it has none."""
        return int(await self._value(statements.LAST_EVENT, (job_id,)))

    async def overdue(self, *, now: float, limit: int) -> Sequence[StoredJob]:
        """Return up to ``limit`` queued jobs whose ``expires_at`` has passed, without bodies."""
        return await self._jobs(statements.OVERDUE, (now, limit))

    async def _jobs(
        self, statement: str, parameters: Mapping[str, Any] | Sequence[Any] = ()
    ) -> Sequence[StoredJob]:
        rows = await self._open.run(lambda db: db.execute_fetchall(statement, parameters))
        return [job_of(row) for row in rows]

    async def _value(self, statement: str, parameters: Mapping[str, Any] | Sequence[Any]) -> Any:
        ((value,),) = await self._open.run(lambda db: db.execute_fetchall(statement, parameters))
        return value
