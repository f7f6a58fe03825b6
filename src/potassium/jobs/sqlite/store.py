"""A job store in an SQLite file, which survives the process."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.jobs.model import Event, NewJob, Status, StoredJob, queued, same_or_refused
from potassium.jobs.order import rank
from potassium.jobs.sqlite import statements
from potassium.jobs.sqlite.connection import connect, identity
from potassium.jobs.sqlite.deliveries import SqliteDeliveries
from potassium.jobs.sqlite.group_commit import GroupCommit
from potassium.jobs.sqlite.rows import (
    ADD_DELIVERY,
    ADD_EVENT,
    ADD_INPUT,
    ADD_JOB,
    claim_row,
    event_rows,
    input_row,
    job_of,
    job_row,
    row_of,
)
from potassium.webhooks.model import Delivery

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["SqliteStore"]


class SqliteStore(SqliteDeliveries):
    """A ``JobStore`` in a file, used by one process at a time.

    What a method has written is on the disk when it returns. See ``GroupCommit`` for how
    simultaneous calls share the wait for that. Belongs to the event loop that opened it.

    Args:
        path: the SQLite file; nothing is done with it before ``open``.

    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path).absolute()  # the app may change the working directory
        self._submitted = 0

    async def open(self) -> None:
        """Lock the file, and create or migrate its tables.

        Raises:
            UsageError: another process uses the file, it is not a store of Potassium, or
                aiosqlite is not installed.

        """
        connection = await connect(self._path)
        ((newest,),) = await connection.execute_fetchall("SELECT max(seq) FROM jobs")
        self._submitted = newest or 0
        opened = identity(self._path)
        self._commits = GroupCommit(connection, lambda: identity(self._path) == opened)

    async def close(self) -> None:
        """Finish the writes under way, then close the file; cancellation does not stop this."""
        if self._commits is not None:
            await self._commits.close()

    async def submit(self, job: NewJob) -> StoredJob:
        """Queue a new job and return it, or return the job that has its idempotency key already."""
        if job.idempotency_key is None:
            stored = self._number(job)
            await self._open.add(stored)
            return stored
        key = (job.owner, job.handler, job.idempotency_key)

        async def submit(db: "Connection") -> StoredJob:
            for row in await db.execute_fetchall(statements.BY_KEY, key):
                return same_or_refused(job_of(row), job)
            stored = self._number(job)
            await db.execute(ADD_JOB, job_row(stored))
            await db.execute(ADD_INPUT, input_row(stored))
            return stored

        return await self._open.run(submit)

    async def known(self, job: NewJob) -> StoredJob | None:
        """Return the job that has the idempotency key of ``job`` already, or None."""
        key = (job.owner, job.handler, job.idempotency_key)
        for known in await self._jobs(statements.BY_KEY, key):
            return same_or_refused(known, job)
        return None

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job, or None if it does not exist."""
        return next(iter(await self._jobs(statements.BY_ID, (job_id,))), None)

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

    async def waiting(self) -> Collection[str]:
        """Return the handlers that have queued jobs."""
        rows = await self._open.run(lambda db: db.execute_fetchall(statements.WAITING))
        return [row["handler"] for row in rows]

    async def claim(
        self, *, handlers: Collection[str], limit: int, now: float
    ) -> Sequence[StoredJob]:
        """Claim up to ``limit`` queued jobs of ``handlers``: the next ones that are due."""
        wanted = {"handlers": json.dumps(sorted(set(handlers))), "now": now, "limit": limit}

        async def claim(db: "Connection") -> Sequence[StoredJob]:
            await db.execute(statements.NOW_DUE, wanted)
            rows = await db.execute_fetchall(statements.NEXT_IN_LINE, wanted)
            jobs = [job_of(row).claimed(now) for row in rows]
            if jobs:
                await db.executemany(statements.CLAIM, [claim_row(job) for job in jobs])
            return jobs

        return await self._open.run(claim)

    async def claim_suspect(self, *, handlers: Collection[str], now: float) -> StoredJob | None:
        """Claim the next queued suspect of ``handlers``, or return None if there is none."""
        wanted = {"handlers": json.dumps(sorted(set(handlers)))}

        async def claim(db: "Connection") -> StoredJob | None:
            for row in await db.execute_fetchall(statements.NEXT_SUSPECT, wanted):
                job = job_of(row).claimed(now)
                await db.execute(statements.CLAIM, claim_row(job))
                return job
            return None

        return await self._open.run(claim)

    async def next_job(self, handlers: Collection[str]) -> float | None:
        """Return when the next queued job of ``handlers`` is due, or None if there is none."""
        due: float | None = await self._value(
            statements.NEXT_JOB, {"handlers": json.dumps(list(handlers))}
        )
        return due

    async def keep(self, job_ids: Collection[str]) -> Collection[str]:  # noqa: ARG002 - none is lost
        """Return nothing: while the file is open, no claim is lost."""
        return ()

    async def left_behind(self) -> Sequence[StoredJob]:
        """Return the jobs that were running when the file was opened and still are."""
        return await self._jobs(statements.LEFT_BEHIND)

    async def end(  # noqa: PLR0913 - as in the interface
        self,
        job: StoredJob,
        status: Status,
        *,
        now: float,
        output: bytes | None = None,
        error: bytes | None = None,
        events: Iterable[Event] = (),
        deliveries: Iterable[Delivery] = (),
    ) -> bool:
        """End a job; return False if its status or attempts are no longer those of ``job``."""
        told = {"progress": job.progress, "message": job.message}
        end = {"status": status.value, "now": now, "output": output, "error": error, **told}
        return await self._change(job, statements.END, end, events, deliveries)

    async def put_back(
        self,
        job: StoredJob,
        *,
        due_at: float,
        error: bytes | None,
        events: Iterable[Event] = (),
        counts: bool = True,
    ) -> bool:
        """Queue a running job again at its old position; return False as ``end`` does."""
        values = {"due_at": due_at, "error": error, "more": not counts}
        return await self._change(job, statements.PUT_BACK, values, events)

    async def retry(
        self, job: StoredJob, *, attempts_limit: int, now: float, events: Iterable[Event] = ()
    ) -> bool:
        """Queue a failed job again at its old position; return False as ``end`` does.

        The job no longer expires, as it began in time.
        """
        return await self._change(
            job, statements.RETRY, {"attempts_limit": attempts_limit, "now": now}, events
        )

    async def note(
        self,
        job: StoredJob,
        *,
        progress: float | None,
        message: str | None,
        events: Iterable[Event] = (),
    ) -> None:
        """Store the progress and events of a running job; do nothing if the claim is lost."""
        note = {"progress": progress, "message": message}
        await self._change(job, statements.NOTE, note, events)

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to ``limit`` events of a job, starting after the event ``after``."""
        wanted = {"job_id": job_id, "after": after, "limit": limit}
        rows = await self._open.run(lambda db: db.execute_fetchall(statements.EVENTS, wanted))
        return [Event(**dict(row)) for row in rows]

    async def last_event(self, job_id: str) -> int:
        """Return the id of a job's last event, or 0 if it has none."""
        return int(await self._value(statements.LAST_EVENT, (job_id,)))

    async def overdue(self, *, now: float, limit: int) -> Sequence[StoredJob]:
        """Return up to ``limit`` queued jobs whose ``expires_at`` has passed, without bodies."""
        return await self._jobs(statements.OVERDUE, (now, limit))

    async def delete_ended(self, *, before: float, limit: int) -> int:
        """Delete up to ``limit`` jobs that ended before ``before``; return how many."""

        async def delete(db: "Connection") -> int:
            ended = list(await db.execute_fetchall(statements.ENDED, (before, limit)))
            if ended:
                ids = [(row["id"],) for row in ended]
                await db.executemany(statements.DELETE_DELIVERIES, ids)
                await db.executemany(statements.DELETE, [(row["seq"],) for row in ended])
            return len(ended)

        return await self._open.run(delete)

    def _number(self, job: NewJob) -> StoredJob:
        self._submitted += 1
        return queued(job, self._submitted)

    async def _jobs(
        self, statement: str, parameters: Mapping[str, Any] | Sequence[Any] = ()
    ) -> Sequence[StoredJob]:
        rows = await self._open.run(lambda db: db.execute_fetchall(statement, parameters))
        return [job_of(row) for row in rows]

    async def _value(self, statement: str, parameters: Mapping[str, Any] | Sequence[Any]) -> Any:
        ((value,),) = await self._open.run(lambda db: db.execute_fetchall(statement, parameters))
        return value

    async def _change(
        self,
        job: StoredJob,
        statement: str,
        values: Mapping[str, Any],
        events: Iterable[Event],
        deliveries: Iterable[Delivery] = (),
    ) -> bool:
        """Change a job if it still matches ``job``; return whether it did."""
        same = {"seq": job.seq, "id": job.id, "was": job.status.value, "attempts": job.attempts}
        suspicion = {"crashes": job.crashes, "is_suspect": job.is_suspect}
        added = [
            (ADD_EVENT, event_rows(job, events)),
            (ADD_DELIVERY, [row_of(delivery) for delivery in deliveries]),
        ]

        async def change(db: "Connection") -> bool:
            if not await db.execute_fetchall(statement, {**values, **suspicion, **same}):
                return False
            for insert, rows in added:
                if rows:
                    await db.executemany(insert, rows)
            return True

        return await self._open.run(change)
