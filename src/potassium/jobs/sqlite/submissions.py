"""How ``SqliteStore`` takes new jobs: small inputs into rows, large ones into files."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from potassium.errors import StoreFull
from potassium.jobs.inputs import is_large
from potassium.jobs.model import NewJob, StoredJob, queued
from potassium.jobs.room import OVERHEAD, input_bytes
from potassium.jobs.sqlite import statements
from potassium.jobs.sqlite.input_files import InputFiles
from potassium.jobs.sqlite.queries import SqliteQueries, known_job
from potassium.jobs.sqlite.rows import ADD_INPUT, ADD_JOB, input_row, job_row

if TYPE_CHECKING:
    from aiosqlite import Connection

__all__ = ["SqliteSubmissions"]


class SqliteSubmissions(SqliteQueries):
    """The part of ``SqliteStore`` that takes new jobs."""

    _files: InputFiles
    _submitted = 0

    async def submit(self, job: NewJob) -> StoredJob:
        """Queue a new job and return it, or return the job that has its idempotency key already."""
        size = input_bytes(job) + OVERHEAD
        try:
            with self._room.entering(size, on_disk=not isinstance(job.body, bytes)):
                return await self._submit_large(job) if is_large(job.body) else await self._add(job)
        except StoreFull:
            known = None if job.idempotency_key is None else await self.known(job)
            if known is None:
                raise
            return known

    async def _submit_large(self, job: NewJob) -> StoredJob:
        """Store a job whose input goes into a file."""
        known = None if job.idempotency_key is None else await self.known(job)
        if known is not None:
            return known
        moved = await self._files.moved(job)
        stored: StoredJob | None = None
        try:
            stored = await self._add(moved)
        finally:
            if stored is None or stored.id != job.id:
                self._files.doubt(moved)
        return stored

    async def _add(self, job: NewJob) -> StoredJob:
        if job.idempotency_key is not None:
            size = len(job.body) if isinstance(job.body, bytes) else 0
            return await self._open.run(lambda db: self._submit(db, job), size=size)
        stored = self._number(job)
        await self._open.add(stored)
        return stored

    async def _unnamed(self, names: Sequence[str]) -> Sequence[str]:
        """Return those of the names of files that no job has."""
        named = json.dumps(names)
        rows = await self._open.run(lambda db: db.execute_fetchall(statements.FILES, (named,)))
        return [row["value"] for row in rows]

    async def _submit(self, db: "Connection", job: NewJob) -> StoredJob:
        known = await known_job(db, job)
        if known is not None:
            return known
        stored = self._number(job)
        await db.execute(ADD_JOB, job_row(stored))
        await db.execute(ADD_INPUT, input_row(stored))
        return stored

    def _number(self, job: NewJob) -> StoredJob:
        self._submitted += 1
        return queued(job, self._submitted)
