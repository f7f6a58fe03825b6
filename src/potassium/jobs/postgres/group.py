"""Stores what many callers want to be stored at the same time, in one transaction."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from potassium.errors import StoreFailed
from potassium.jobs.model import NewJob, Status, StoredJob, queued, same_or_refused
from potassium.jobs.postgres import submissions
from potassium.jobs.postgres.changes import Change, Kind
from potassium.jobs.postgres.counts import COUNTS, Counts, counted
from potassium.jobs.postgres.database import Connection
from potassium.jobs.postgres.faults import failed
from potassium.jobs.postgres.lane import Lane, Refused
from potassium.jobs.postgres.news import News
from potassium.jobs.postgres.rows import job_of
from potassium.jobs.postgres.servers import Server
from potassium.jobs.room import Room

__all__ = ["Group"]

MOST_AT_ONCE = 16 * 1024 * 1024  # bytes in one transaction
MOST_TOGETHER = 500  # jobs and changes

Wanted = NewJob | Change


class _Work:
    """What one caller waits for."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def size(self) -> int:
        """How many bytes are stored for it."""
        if isinstance(self.wanted, Change):
            return self.wanted.size
        return len(self.wanted.body) if isinstance(self.wanted.body, bytes) else 0


class Group:
    """Stores new jobs and changes; all that wait at a time share one transaction.

    So a hundred simultaneous callers wait for one commit, not for a hundred. What is cancelled
    while it waits is not begun. Belongs to the event loop.

    Args:
        lane: runs the transactions.
        server: whose they are.
        news: tells the other servers.
        room: is told after each transaction what the store holds.

    """

    def __init__(self, lane: Lane, server: Server, news: News, room: Room) -> None:
        self._lane = lane
        self._server = server
        self._news = news
        self._room = room
        self._waiting: list[_Work] = []
        self._counting: asyncio.Future[Counts] | None = None
        self._has_work = asyncio.Event()
        self._is_closing = False
        self._task = asyncio.create_task(self._run(), name="potassium-jobs-commits")

    async def submit(self, job: NewJob) -> StoredJob:
        """Store a new job, or return the one that has its idempotency key.

        Raises:
            IdempotencyKeyReused: that one has another fingerprint.
            StoreFailed: the job was not stored, or nobody could find out.

        """
        stored: StoredJob = await self._queue(job)
        return stored

    async def change(self, change: Change) -> bool:
        """Change a job; return whether it was still as the change says.

        Raises:
            StoreFailed: it was not changed, or nobody could find out.

        """
        did: bool = await self._queue(change)
        return did

    async def count(self, status: Status, handler: str) -> int | None:
        """Return how many jobs of a handler have a status, once what waits now is stored.

        Returns None if nothing waits.

        Raises:
            StoreFailed: it was not stored.

        """
        if not self._waiting:
            return None
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_future()
        counts = await asyncio.shield(self._counting)  # one caller must not cancel it for others
        return counts.get((status.value, handler), 0)

    async def close(self) -> None:
        """Finish what waits; cancellation does not stop this."""
        self._is_closing = True
        self._has_work.set()
        await asyncio.wait([self._task])

    async def _queue(self, wanted: Wanted) -> Any:
        if self._is_closing:
            raise StoreFailed("The store of background jobs is closed.")
        work = _Work(wanted)
        self._waiting.append(work)
        self._has_work.set()
        return await work.future

    def _take(self) -> Sequence[_Work]:
        """Return what is stored next: a part of what waits, with one change of each job."""
        taken: list[_Work] = []
        rest: list[_Work] = []
        size, jobs = 0, set[str]()
        for work in self._waiting:
            if work.future.done():
                continue
            job_id = work.wanted.job.id if isinstance(work.wanted, Change) else work.wanted.id
            fits = len(taken) < MOST_TOGETHER and size + work.size <= MOST_AT_ONCE
            if (fits or not taken) and job_id not in jobs:
                taken.append(work)
                size += work.size
            else:
                rest.append(work)
            jobs.add(job_id)  # whatever is wanted of the same job afterwards comes after it
        self._waiting = rest
        if rest:
            self._has_work.set()
        return taken

    async def _run(self) -> None:
        try:
            while self._has_work.is_set() or not self._is_closing:
                await self._has_work.wait()
                self._has_work.clear()
                await self._store(self._take())
        finally:
            self._is_closing = True
            for work in self._waiting:
                _settle(work.future, failed())

    async def _store(self, batch: Sequence[_Work]) -> None:
        """Store what was taken, and settle it."""
        counting, self._counting = self._counting, None
        wanted = [work.wanted for work in batch]
        outcomes: Sequence[object] = [failed() for _ in batch]
        counts: Counts | StoreFailed = failed()
        try:
            if batch:
                outcomes, counts = await self._lane.run(
                    lambda one: self._transact(one, wanted), size=sum(work.size for work in batch)
                )
        except Refused as error:
            if len(batch) > 1:  # one of them is invalid; the others must not fail with it
                self._counting, counting = counting, None
                for work in batch:
                    await self._store([work])
            outcomes = [error for _ in batch]
        except Exception as error:  # noqa: BLE001 - the others go on, whatever it is
            outcomes = [failed(error) for _ in batch]
        finally:
            for work, outcome in zip(batch, outcomes, strict=True):
                _settle(work.future, outcome)
            if counting is not None:
                _settle(counting, counts)

    async def _transact(
        self, connection: Connection, wanted: Sequence[Wanted]
    ) -> tuple[tuple[Sequence[object], Counts], bool]:
        new = [one for one in wanted if not isinstance(one, Change)]
        changes = defaultdict[Kind, list[Change]](list)
        for one in wanted:
            if isinstance(one, Change):
                changes[one.kind].append(one)
        added, made = None, {}
        if new:
            added = await connection.execute(submissions.SUBMIT, submissions.parameters(new))
        for kind, some in changes.items():
            parameters = Change.parameters(kind, some, self._server.id)
            made[kind] = await connection.execute(kind.statement, parameters)
        await self._news.tell(connection, new, changes)
        sums = await connection.execute(COUNTS)
        outcomes: dict[int, object] = {}
        if added is not None:
            seqs = {row["id"]: row["seq"] for row in await added.fetchall()}
            for job in new:
                outcomes[id(job)] = await _stored(connection, job, seqs.get(job.id))
        for kind, some in changes.items():
            numbers = {row["n"] for row in await made[kind].fetchall()}
            for number, change in enumerate(some):
                outcomes[id(change)] = number in numbers
        counts = counted(await sums.fetchall(), self._room)
        return ([outcomes[id(one)] for one in wanted], counts), True


async def _stored(connection: Connection, job: NewJob, seq: int | None) -> object:
    """Return the new job as it is stored, or the one that has its key, or what is wrong."""
    if seq is not None:
        return queued(job, seq)
    cursor = await connection.execute(submissions.BY_KEY, submissions.key_of(job))
    row = await cursor.fetchone()
    if row is None:  # it was deleted just now
        return failed()
    try:
        return same_or_refused(job_of(row), job)
    except Exception as error:  # noqa: BLE001 - for its caller
        return error


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    """Tell those who wait the outcome."""
    if future.done():
        return  # its caller was cancelled
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # perhaps nobody waits any more
    else:
        future.set_result(outcome)
