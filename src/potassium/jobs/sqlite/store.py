"""A job store in an SQLite file, which survives the process."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.config import Jobs
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.room import Room, event_bytes
from potassium.jobs.sqlite import kept_clock, statements
from potassium.jobs.sqlite.connection import connect
from potassium.jobs.sqlite.file import StoreFile
from potassium.jobs.sqlite.group_commit import GroupCommit
from potassium.jobs.sqlite.holder import Holder
from potassium.jobs.sqlite.input_files import InputFiles
from potassium.jobs.sqlite.rows import (
    ADD_DELIVERY,
    ADD_EVENT,
    claim_row,
    event_rows,
    job_of,
    row_of,
)
from potassium.jobs.sqlite.submissions import SqliteSubmissions
from potassium.webhooks.model import Delivery
from potassium.webhooks.steady_clock import SteadyClock

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["SqliteStore"]

MOST_STEPS = 64  # that the file shrinks by in one go
MOST_CLAIMED = 16 * 1024 * 1024  # bytes of input read at a time
MOST_DELETED = 32 * 1024 * 1024  # bytes of jobs deleted at a time


class SqliteStore(SqliteSubmissions):
    """A ``JobStore`` in a file, used by one process at a time.

    What a method has written is on the disk when it returns. See ``GroupCommit`` for how
    simultaneous calls share the wait for that. Belongs to the event loop that opened it.

    Args:
        path: the SQLite file; nothing is done with it before ``open``.
        options: say how much the store may hold.
        clock: continues the clock of the file.
        app: the name of the app, for others that want the file.

    """

    is_durable = True

    def __init__(
        self,
        path: str | PathLike[str],
        options: Jobs | None = None,
        *,
        clock: SteadyClock | None = None,
        app: str = "potassium",
    ) -> None:
        self.clock = clock or SteadyClock()
        self._path = Path(path).absolute()  # the app may change the working directory
        self._holder = Holder(self._path, app)
        self._files = InputFiles(self._path.with_name(f"{self._path.name}-files"))
        self._room = Room(options or Jobs())
        self._file: StoreFile
        self._kept_offset: float | None = None

    async def open(self) -> None:
        """Lock the file, and create or migrate its tables.

        Raises:
            UsageError: another process or app uses the file, it is not a store of Potassium, or
                aiosqlite is not installed.

        """
        drop = self._files.doubtful.add
        connection = await connect(self._path, drop, self._holder)
        try:
            await self._take_over(connection)
        except BaseException:
            self._holder.forget()
            await connection.close()  # its thread would keep the process from ending
            raise
        self._files.find()
        self._was_left_behind = True
        self._file = StoreFile(self._path, connection, drop, self._holder)
        self._commits = GroupCommit(self._file, self._room)

    async def _take_over(self, connection: "Connection") -> None:
        """Continue the numbers, the sums and the clock of the file."""
        ((newest,),) = await connection.execute_fetchall("SELECT max(seq) FROM jobs")
        self._submitted = newest or 0
        ((self._room.queued, self._room.bytes),) = await connection.execute_fetchall(
            statements.USAGE
        )
        await kept_clock.resume(connection, self.clock)

    @property
    def fault(self) -> str | None:
        """Why nothing can be stored; None while it can."""
        return self._open.fault

    async def upkeep(self) -> None:
        """Keep the clock, see whether the disk can be written, and give back unused space.

        The disk is tried if it has failed, or if it seems to be full or read-only: nobody needs to
        submit a job to find out. Also remove the files of inputs that no job needs any more.

        Raises:
            StoreFailed: the file cannot be written.

        """
        offset, is_doubtful = self.clock.offset, self._file.is_doubtful()
        if is_doubtful or self.fault is not None or offset != self._kept_offset:
            await self._open.prove(
                lambda db: kept_clock.keep(db, self.clock), needs_room=is_doubtful
            )
            self._kept_offset = offset
        await self._files.settle(self._unnamed)
        for _ in range(MOST_STEPS):
            if not await self._open.between(lambda _: self._file.shrink()):
                return

    async def close(self) -> None:
        """Finish the writes under way, then close the file; cancellation does not stop this."""
        if self._commits is not None:
            await self._commits.close()

    async def claim(
        self, *, handlers: Collection[str], limit: int, now: float
    ) -> Sequence[StoredJob]:
        """Claim up to ``limit`` queued jobs of ``handlers``: the next ones that are due."""
        if not self._room.may_begin():
            return ()
        wanted = {
            "handlers": json.dumps(sorted(set(handlers))),
            "now": now,
            "limit": limit,
            "most": MOST_CLAIMED,
        }

        async def claim(db: "Connection") -> Sequence[StoredJob]:
            await db.execute(statements.NOW_DUE, wanted)
            rows = await db.execute_fetchall(statements.NEXT_IN_LINE, wanted)
            jobs = [job_of(row, self._files).claimed(now) for row in rows]
            if jobs:
                await db.executemany(statements.CLAIM, [claim_row(job) for job in jobs])
            return jobs

        return await self._open.run(claim)

    async def claim_suspect(self, *, handlers: Collection[str], now: float) -> StoredJob | None:
        """Claim the next queued suspect of ``handlers``, or return None if there is none."""
        wanted = {"handlers": json.dumps(sorted(set(handlers)))}

        async def claim(db: "Connection") -> StoredJob | None:
            for row in await db.execute_fetchall(statements.NEXT_SUSPECT, wanted):
                self._room.check_begin()
                job = job_of(row, self._files).claimed(now)
                await db.execute(statements.CLAIM, claim_row(job))
                return job
            return None

        return await self._open.run(claim)

    async def end(  # noqa: PLR0913 - as in the interface
        self,
        job: StoredJob,
        status: Status,
        *,
        now: float,
        output: bytes | None = None,
        output_type: str | None = None,
        error: bytes | None = None,
        events: Iterable[Event] = (),
        deliveries: Iterable[Delivery] = (),
    ) -> bool:
        """End a job; return False if its status or attempts are no longer those of ``job``."""
        told = {"progress": job.progress, "message": job.message}
        result = {"output": output, "output_type": output_type, "error": error}
        end = {"status": status.value, "now": now, **result, **told}
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
        self._room.check(0)
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

    async def delete_ended(
        self,
        *,
        before: float,
        limit: int,
        status: Status | None = None,
        owner: str | None = None,
    ) -> int:
        """Delete up to ``limit`` jobs that ended before ``before``; return how many."""
        if owner is None:
            statement = statements.ENDED if status is None else statements.ENDED_STATUS
        else:
            statement = statements.ENDED_OWN if status is None else statements.ENDED_OWN_STATUS
        wanted = {
            "before": before,
            "limit": limit,
            "status": status and status.value,
            "owner": owner,
        }

        async def delete(db: "Connection") -> int:
            ended = list(await db.execute_fetchall(statement, wanted))
            if ended:
                ended = ended[: _fitting(ended)]
                ids = [(row["id"],) for row in ended]
                await db.executemany(statements.DELETE_DELIVERIES, ids)
                await db.executemany(statements.DELETE, [(row["seq"],) for row in ended])
            return len(ended)

        return await self._open.run(delete)

    async def _change(
        self,
        job: StoredJob,
        statement: str,
        values: Mapping[str, Any],
        events: Iterable[Event],
        deliveries: Iterable[Delivery] = (),
    ) -> bool:
        """Change a job if it still matches ``job``; return whether it did."""
        events = list(events)
        size = event_bytes(events)
        size += sum(len(values.get(name) or b"") for name in ("output", "error"))
        same = {"seq": job.seq, "id": job.id, "was": job.status.value, "attempts": job.attempts}
        suspicion = {"crashes": job.crashes, "is_suspect": job.is_suspect}
        given = {**values, **suspicion, **same, "added": size}
        added = [
            (ADD_EVENT, event_rows(job, events)),
            (ADD_DELIVERY, [row_of(delivery) for delivery in deliveries]),
        ]

        async def change(db: "Connection") -> bool:
            if not await db.execute_fetchall(statement, given):
                return False
            for insert, rows in added:
                if rows:
                    await db.executemany(insert, rows)
            return True

        return await self._open.run(change, size=size)


def _fitting(jobs: Sequence[sqlite3.Row]) -> int:
    """Return how many of ``jobs`` are deleted at a time, at least one."""
    sizes: Iterable[int] = accumulate(job["bytes"] for job in jobs)
    return max(1, sum(size <= MOST_DELETED for size in sizes))
