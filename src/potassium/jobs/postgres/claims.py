"""How ``PostgresStore`` gives jobs to the server that runs them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from potassium.errors import StoreFailed
from potassium.jobs.model import Event, StoredJob
from potassium.jobs.order import rank
from potassium.jobs.postgres import statements
from potassium.jobs.postgres.changes import Change, Kind
from potassium.jobs.postgres.database import Connection
from potassium.jobs.postgres.group import Group
from potassium.jobs.postgres.lane import Lane
from potassium.jobs.postgres.queries import PostgresQueries
from potassium.jobs.postgres.rows import job_of, text_in
from potassium.webhooks.model import Delivery

__all__ = ["PostgresClaims"]

MOST_CLAIMED = 16 * 1024 * 1024  # bytes of input read at a time
LARGEST_CLAIM = 64 * 1024 * 1024  # unless one is larger


class PostgresClaims(PostgresQueries):
    """The part of ``PostgresStore`` that gives jobs out, and takes them back."""

    _claims: Lane

    async def claim(
        self, *, handlers: Collection[str], limit: int, now: float
    ) -> Sequence[StoredJob]:
        """Claim up to ``limit`` queued jobs of ``handlers``: the next ones that are due."""
        if not self._room.may_begin():
            return ()
        wanted = {**self._wanted(handlers, now), "limit": limit, "most": MOST_CLAIMED}
        return await self._claim(statements.CLAIM, wanted, statements.NOW_DUE)

    async def claim_suspect(self, *, handlers: Collection[str], now: float) -> StoredJob | None:
        """Claim the next queued suspect of ``handlers``, or return None if there is none."""
        jobs = await self._claim(statements.CLAIM_SUSPECT, self._wanted(handlers, now))
        return jobs[0] if jobs else None

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
        values = {"due_at": due_at, "error": error, "more": int(not counts)}
        return await self._change(Kind.PUT_BACK, job, values, events)

    async def ask_to_end(self, job: StoredJob) -> bool:
        """Let whoever runs a job know that it should end early."""
        same = {"seq": job.seq, "id": text_in(job.id), "attempts": job.attempts}

        async def ask(connection: Connection) -> tuple[bool, bool]:
            did = await (await connection.execute(statements.ASK, same)).fetchone() is not None
            if did:
                await self._news.ask_to_end(connection, job.id)
            return did, did

        return await self._posts.run(ask)

    def _wanted(self, handlers: Collection[str], now: float) -> dict[str, Any]:
        names = [text_in(handler) for handler in set(handlers)]
        self._server.handlers.update(names)
        return {"handlers": names, "now": now, "server": self._server.id}

    async def _claim(
        self, statement: bytes, wanted: dict[str, Any], *before: bytes
    ) -> Sequence[StoredJob]:
        async def claim(connection: Connection) -> tuple[Sequence[StoredJob], bool]:
            for one in before:
                await connection.execute(one, wanted)
            rows = await (await connection.execute(statement, wanted)).fetchall()
            if rows:
                self._room.check_begin()
            jobs = sorted(map(job_of, rows), key=lambda job: (rank(job), job.seq))
            return jobs, bool(jobs)

        jobs = await self._claims.run(claim, undo=self._unclaim, size=LARGEST_CLAIM)
        # The heir of a server that has lost its lease takes up its claims, even the latest.
        return jobs if wanted["server"] == self._server.id else ()

    async def _unclaim(self, connection: Connection, jobs: Sequence[StoredJob]) -> None:
        """Queue jobs again, as nobody has waited for them."""
        values = {"due_at": self.clock(), "error": None, "more": 1}
        changes = [Change(Kind.PUT_BACK, job, values, []) for job in jobs]
        given = Change.parameters(Kind.PUT_BACK, changes, self._server.id)
        await connection.execute(Kind.PUT_BACK.statement, given)

    @property
    def _open(self) -> Group:
        if self._group is None:
            raise StoreFailed("The store of background jobs is not open.")
        return self._group

    async def _change(
        self,
        kind: Kind,
        job: StoredJob,
        values: dict[str, Any],
        events: Iterable[Event],
        deliveries: Iterable[Delivery] = (),
    ) -> bool:
        change = Change(kind, job, values, list(events), list(deliveries))
        return await self._open.change(change)
