"""What ``PostgresStore`` only reads."""

from collections.abc import Collection, Sequence
from itertools import groupby
from operator import itemgetter

from potassium.jobs.model import Census, Event, NewJob, Status, StoredJob, same_or_refused
from potassium.jobs.order import rank
from potassium.jobs.postgres import statements
from potassium.jobs.postgres.counts import COUNTS
from potassium.jobs.postgres.deliveries import PostgresDeliveries
from potassium.jobs.postgres.group import Group
from potassium.jobs.postgres.rows import event_of, job_of, text_in
from potassium.jobs.postgres.submissions import BY_KEY, key_of
from potassium.jobs.room import FULL_PAUSE
from potassium.jobs.store import EVENTS_BYTES

__all__ = ["PostgresQueries"]

_FIND = {
    (has_owner, has_status): statements.find(
        *(["owner"] if has_owner else []), *(["status"] if has_status else [])
    )
    for has_owner in (False, True)
    for has_status in (False, True)
}


class PostgresQueries(PostgresDeliveries):
    """The part of ``PostgresStore`` that only reads: what is committed, and so never lost."""

    _group: Group | None = None
    _max_output: int

    async def known(self, job: NewJob) -> StoredJob | None:
        """Return the job that has the idempotency key of ``job`` already, or None."""
        if job.idempotency_key is None:
            return None
        rows = await self._rows(BY_KEY, key_of(job))
        return same_or_refused(job_of(rows[0]), job) if rows else None

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job without its input and output, or None if it does not exist."""
        rows = await self._rows(statements.BY_ID, (text_in(job_id),))
        return job_of(rows[0]) if rows else None

    async def output(self, job_id: str) -> bytes | None:
        """Return the output of a job, or None if it has none."""
        rows = await self._rows(statements.OUTPUT, (text_in(job_id),), size=self._max_output)
        return rows[0]["output"] if rows else None

    async def find(
        self,
        *,
        status: Status | None = None,
        owner: str | None = None,
        limit: int,
        after: str | None = None,
    ) -> Sequence[StoredJob]:
        """Return up to ``limit`` jobs, newest first; with ``after``, only those older than it."""
        values = {
            "owner": None if owner is None else text_in(owner),
            "status": status and status.value,
            "limit": limit,
            "after": None if after is None else text_in(after),
        }
        rows = await self._rows(_FIND[owner is not None, status is not None], values)
        return [job_of(row) for row in rows]

    async def position(self, job: StoredJob) -> int:
        """Return the position of a queued job among those of its handler, from 1.

        Takes longer the more jobs are before it: some ten milliseconds for 100 000.
        """
        place = {"handler": text_in(job.handler), "rank": rank(job), "seq": job.seq}
        return int((await self._row(statements.BEFORE, place))["jobs"]) + 1

    async def count(self, status: Status, handler: str | None = None) -> int:
        """Return how many jobs have a status, of all handlers or of one."""
        if handler is not None:
            handler = text_in(handler)
            waits = self._group
            found = None if waits is None else await waits.count(status, handler)
            if found is not None:
                return found
        values = {"status": status.value, "handler": handler}
        return int((await self._row(statements.COUNT, values))["jobs"])

    async def census(self) -> Census:
        """Return how many jobs there are of each handler and status."""
        counts = await self._rows(COUNTS)
        oldest = {}
        for status in (Status.QUEUED, Status.RUNNING):
            for row in await self._rows(statements.OLDEST, (status.value,)):
                oldest[status] = row["created_at"]
        jobs = {
            (row["handler"], Status(row["status"])): row["jobs"]
            for row in counts
            if row["status"] != "delivery"
        }
        return Census(jobs=jobs, oldest=oldest)

    async def waiting(self) -> Collection[str]:
        """Return the handlers that have queued jobs."""
        return [row["handler"] for row in await self._rows(statements.WAITING)]

    async def next_job(self, handlers: Collection[str]) -> float | None:
        """Return when the next queued job of ``handlers`` is due, or None if there is none."""
        if not self._room.may_begin():
            return self.clock() + FULL_PAUSE
        values = {"handlers": [text_in(handler) for handler in handlers]}
        due_at: float | None = (await self._row(statements.NEXT_JOB, values))["due_at"]
        return due_at

    async def left_behind(self) -> Sequence[Sequence[StoredJob]]:
        """Return the running jobs of servers that are gone, those of each server together."""
        await self._server.inherit()
        rows = await self._rows(statements.LEFT_BEHIND, (self._server.id,))
        by_server = itemgetter("claimant")
        return [
            [job_of({name: row[name] for name in row if name != "claimant"}) for row in some]
            for _, some in groupby(sorted(rows, key=by_server), by_server)
        ]

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to ``limit`` events of a job, starting after the event ``after``."""
        wanted = {
            "job_id": text_in(job_id),
            "after": after,
            "limit": limit,
            "most": EVENTS_BYTES,
        }
        return [event_of(row) for row in await self._rows(statements.EVENTS, wanted)]

    async def last_event(self, job_id: str) -> int:
        """Return the id of a job's last event, or 0 if it has none."""
        return int((await self._row(statements.LAST_EVENT, (text_in(job_id),)))["id"])

    async def overdue(self, *, now: float, limit: int) -> Sequence[StoredJob]:
        """Return up to ``limit`` queued jobs whose ``expires_at`` has passed, without bodies."""
        rows = await self._rows(statements.OVERDUE, {"now": now, "limit": limit})
        return [job_of(row) for row in rows]
