"""A job store in a PostgreSQL database, which all servers of an app share."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from potassium.config import Jobs
from potassium.errors import BodyTooLarge, StoreFailed, StoreFull
from potassium.jobs.inputs import Input, size_of
from potassium.jobs.model import Event, NewJob, Status, StoredJob
from potassium.jobs.postgres import statements
from potassium.jobs.postgres.changes import Kind
from potassium.jobs.postgres.claims import PostgresClaims
from potassium.jobs.postgres.clock import DatabaseClock
from potassium.jobs.postgres.counts import COUNTS, counted
from potassium.jobs.postgres.database import Connection, Database
from potassium.jobs.postgres.group import Group
from potassium.jobs.postgres.lane import Lane
from potassium.jobs.postgres.news import News
from potassium.jobs.postgres.rows import text_in
from potassium.jobs.postgres.servers import Beat, Server
from potassium.jobs.room import OVERHEAD, Room, input_bytes
from potassium.jobs.store import StoreListener
from potassium.webhooks.model import Delivery

__all__ = ["LARGEST_INPUT", "PostgresStore"]

LARGEST_INPUT = 64 * 1024 * 1024  # bytes
MOST_DELETED = 32 * 1024 * 1024  # bytes of jobs deleted at a time
MOST_TALLIES = 200  # rows that the numbers of jobs are summed up from


class PostgresStore(PostgresClaims):
    """A ``JobStore`` in a schema of a database, used by any number of servers.

    What a method has written is committed when it returns. See ``Group`` for how simultaneous
    calls share a transaction, ``Server`` for leases, and ``Lane`` for commits of which nobody says
    whether they have happened. Belongs to the event loop that opened it.

    Args:
        url: that of the database; nothing is done with it before ``open``.
        options: say how much the store may hold, and how long a lease is.
        clock: is set by that of the database.
        app: the name of the app, for the database's list of connections.

    """

    is_durable = True
    is_shared = True

    def __init__(
        self,
        url: str,
        options: Jobs | None = None,
        *,
        clock: DatabaseClock | None = None,
        app: str = "potassium",
    ) -> None:
        options = options or Jobs(url=url)
        clock = clock or DatabaseClock()
        self.clock = clock
        self._database = Database(url, options.schema, app)
        self._server = Server(self._database, options.lease, clock)
        self._news = News(self._database, self._server)
        self._room = Room(options)
        self._max_output = options.max_output
        self._listener: StoreListener | None = None
        self._claims = Lane(self._database, self._server, "claims")
        self._posts = Lane(self._database, self._server, "posts")
        self._changes = Lane(self._database, self._server, "changes")

    @property
    def fault(self) -> str | None:
        """Why nothing can be stored; None while it can."""
        return self._database.fault

    def follow(self, listener: StoreListener) -> None:
        """Tell ``listener`` from now on what other servers do."""
        self._listener = listener
        self._news.follow(listener)

    async def open(self) -> None:
        """Create or migrate the tables, and enter among the servers.

        Raises:
            UsageError: the database cannot be used.

        """
        await self._database.open()
        try:
            await self._server.enter()
            await self._measure()
        except StoreFailed as error:
            await self._database.close()
            cause = error.__cause__
            raise self._database.refused(
                cause if isinstance(cause, Exception) else error
            ) from error
        self._group = Group(self._changes, self._server, self._news, self._room)
        self._news.start()
        self._server.start(self._beat)

    def hurry(self) -> None:
        """Wait for a few seconds at most from now on, if the database does not answer."""
        self._database.hurry()

    async def close(self) -> None:
        """Finish the writes under way, and leave; cancellation does not stop this.

        It hurries: the database may be away.
        """
        closing = asyncio.create_task(self._close(), name="potassium-jobs-close")
        try:
            await asyncio.shield(closing)
        finally:
            await asyncio.wait({closing})

    async def _close(self) -> None:
        self.hurry()
        if self._group is not None:
            await self._group.close()
        await self._news.close()
        await self._server.leave()
        await self._database.close()

    async def upkeep(self) -> None:
        """Sum up what many statements have counted."""
        values = {"most": MOST_TALLIES, "schema": self._database.schema}

        async def fold(connection: Connection) -> tuple[None, bool]:
            cursor = await connection.execute(statements.FOLD, values)
            return None, await cursor.fetchone() is not None

        await self._changes.run(fold)
        await self._measure()

    async def _measure(self) -> None:
        """Learn how much the store holds: others fill it and empty it, too."""
        counted(await self._rows(COUNTS), self._room)

    async def submit(self, job: NewJob) -> StoredJob:
        """Queue a new job and return it, or return the job that has its idempotency key already.

        Raises:
            BodyTooLarge: the input has more than ``LARGEST_INPUT`` bytes.

        """
        if size_of(job.body) > LARGEST_INPUT:
            raise BodyTooLarge(
                f"The input of a background job may have {LARGEST_INPUT} bytes at most."
            )
        try:
            with self._room.entering(input_bytes(job) + OVERHEAD):
                if not isinstance(job.body, bytes):
                    job = replace(job, body=await asyncio.to_thread(_read, job.body))
                return await self._open.submit(job)
        except StoreFull:
            known = await self.known(job)
            if known is None:
                raise
            return known

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
        values = {
            "status": status.value,
            "now": now,
            "output": output,
            "output_type": None if output_type is None else text_in(output_type),
            "error": error,
            "progress": job.progress,
            "message": job.message,
        }
        return await self._change(Kind.END, job, values, events, deliveries)

    async def retry(
        self, job: StoredJob, *, attempts_limit: int, now: float, events: Iterable[Event] = ()
    ) -> bool:
        """Queue a failed job again at its old position; return False as ``end`` does.

        The job no longer expires, as it began in time.
        """
        self._room.check(0)
        values = {"attempts_limit": attempts_limit, "now": now}
        return await self._change(Kind.RETRY, job, values, events)

    async def note(
        self,
        job: StoredJob,
        *,
        progress: float | None,
        message: str | None,
        events: Iterable[Event] = (),
    ) -> None:
        """Store the progress and events of a running job; do nothing if the claim is lost."""
        await self._change(Kind.NOTE, job, {"progress": progress, "message": message}, events)

    async def delete_ended(
        self,
        *,
        before: float,
        limit: int,
        status: Status | None = None,
        owner: str | None = None,
    ) -> int:
        """Delete up to ``limit`` jobs that ended before ``before``; return how many."""
        columns = [name for name, one in (("status", status), ("owner", owner)) if one is not None]
        values = {
            "before": before,
            "limit": limit,
            "most": MOST_DELETED,
            "status": status and status.value,
            "owner": owner and text_in(owner),
        }

        async def delete(connection: Connection) -> tuple[int, bool]:
            cursor = await connection.execute(statements.deletion(*columns), values)
            deleted = await cursor.fetchone()
            return (deleted["jobs"] if deleted else 0), True

        return await self._posts.run(delete)

    async def _beat(self, beat: Beat) -> None:
        """Notice what notifications may not have told."""
        if self._listener is not None:
            if not beat.is_renewed:
                self._listener.lost_claims()
            if not beat.has_suspects:
                self._listener.cleared()
            if beat.has_suspects or beat.has_jobs:
                self._listener.queued(suspects=beat.has_suspects)
            if beat.has_deliveries:
                self._listener.posted()
            if beat.asked_to_end:
                self._listener.asked_to_end(beat.asked_to_end)
        await self._news.ping()


def _read(body: Input) -> bytes:
    """Return an input that is on disk; on another thread."""
    if isinstance(body, bytes):
        return body
    shared = body.share()
    try:
        return shared.read()
    finally:
        shared.close()
