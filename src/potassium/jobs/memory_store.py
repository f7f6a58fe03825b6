"""A job store in memory, which ends with the process."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from potassium.config import Jobs, Webhooks
from potassium.errors import StoreFailed
from potassium.http.spooled import SpooledBody
from potassium.jobs.inputs import Input, is_large
from potassium.jobs.memory_queries import MemoryQueries
from potassium.jobs.model import Event, NewJob, Status, StoredJob, queued
from potassium.jobs.order import rank
from potassium.jobs.room import OVERHEAD, Room, event_bytes, input_bytes, job_bytes
from potassium.webhooks.model import Delivery

__all__ = ["MemoryStore"]


class MemoryStore(MemoryQueries):
    """A ``JobStore`` in the memory of one process, for development and tests.

    Args:
        options: say how much the store may hold.
        webhooks: bounds the deliveries.

    """

    fault: str | None = None
    is_durable = False

    def __init__(self, options: Jobs | None = None, *, webhooks: Webhooks | None = None) -> None:
        super().__init__(webhooks)
        self._room = Room(options or Jobs())
        self._submitted = 0

    async def open(self) -> None:
        """Do nothing: the store is always ready."""

    async def close(self) -> None:
        """Release the inputs that are on disk."""
        for job in self._jobs.values():
            _release(job)

    async def submit(self, job: NewJob) -> StoredJob:
        """Queue a new job and return it, or return the job that has its idempotency key already."""
        known = await self.known(job)
        if known is not None:
            return known
        self._room.check(input_bytes(job) + OVERHEAD)
        if is_large(job.body):
            return await self._submit_large(job)
        return self._queue(job)

    async def _submit_large(self, job: NewJob) -> StoredJob:
        """Store a job whose input is kept on disk."""
        try:
            own = replace(job, body=await asyncio.to_thread(_on_disk, job.body))
        except OSError as error:
            raise StoreFailed("Background jobs with large inputs cannot be stored now.") from error
        try:
            known = await self.known(job)  # which may have come meanwhile
        except BaseException:
            _release(own)
            raise
        if known is not None:
            _release(own)
            return known
        return self._queue(own)

    def _queue(self, job: NewJob) -> StoredJob:
        if job.idempotency_key is not None:
            self._keys[job.owner, job.handler, job.idempotency_key] = job.id
        self._submitted += 1
        stored = queued(job, self._submitted)
        self._set(stored)
        return stored

    async def claim(
        self, *, handlers: Collection[str], limit: int, now: float
    ) -> Sequence[StoredJob]:
        """Claim up to ``limit`` queued jobs of ``handlers``: the next ones that are due."""
        if not self._room.may_begin():
            return ()
        first = [
            job
            for handler in set(handlers)
            for job in islice((job for job in self._queued(handler) if job.is_due(now)), limit)
        ]
        first.sort(key=_order)
        return [self._set(job.claimed(now)) for job in first[:limit]]

    async def claim_suspect(self, *, handlers: Collection[str], now: float) -> StoredJob | None:
        """Claim the next queued suspect of ``handlers``, or return None if there is none."""
        queued = (job for handler in handlers for job in self._queued(handler))
        job = min((job for job in queued if job.is_suspect), key=_order, default=None)
        if job is None:
            return None
        self._room.check_begin()
        return self._set(job.claimed(now))

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
        current = self._same(job, Status.QUEUED, Status.RUNNING)
        if current is None:
            return False
        if status is not Status.FAILED:
            _release(current)
            current = current.without_input
        self._set(
            replace(
                current,
                status=status,
                finished_at=now,
                output=output,
                output_type=output_type,
                output_size=None if output is None else len(output),
                error=error,
                crashes=job.crashes,
                is_suspect=job.is_suspect,
                progress=current.progress if job.progress is None else job.progress,
                message=current.message if job.message is None else job.message,
            )
        )
        self._add_events(job.id, events)
        for delivery in deliveries:
            self._add(delivery)
        return True

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
        current = self._same(job, Status.RUNNING)
        if current is None:
            return False
        self._set(
            replace(
                current,
                status=Status.QUEUED,
                due_at=due_at,
                error=error,
                expires_at=None,
                attempts_limit=current.attempts_limit + (not counts),
                crashes=job.crashes,
                is_suspect=job.is_suspect,
            )
        )
        self._add_events(job.id, events)
        return True

    async def retry(
        self, job: StoredJob, *, attempts_limit: int, now: float, events: Iterable[Event] = ()
    ) -> bool:
        """Queue a failed job again at its old position; return False as ``end`` does.

        The job no longer expires, as it began in time.
        """
        self._room.check(0)
        current = self._same(job, Status.FAILED)
        if current is None:
            return False
        self._set(
            replace(
                current,
                status=Status.QUEUED,
                attempts_limit=attempts_limit,
                due_at=now,
                finished_at=None,
                expires_at=None,
            )
        )
        self._add_events(job.id, events)
        return True

    async def note(
        self,
        job: StoredJob,
        *,
        progress: float | None,
        message: str | None,
        events: Iterable[Event] = (),
    ) -> None:
        """Store the progress and events of a running job; do nothing if the claim is lost."""
        current = self._same(job, Status.RUNNING)
        if current is None:
            return
        self._set(
            replace(
                current,
                progress=current.progress if progress is None else progress,
                message=current.message if message is None else message,
            )
        )
        self._add_events(job.id, events)

    async def delete_ended(
        self,
        *,
        before: float,
        limit: int,
        status: Status | None = None,
        owner: str | None = None,
    ) -> int:
        """Delete up to ``limit`` jobs that ended before ``before``; return how many."""
        ended = self._ended(before, status, owner)[:limit]
        for job in ended:
            self._delete(job)
        return len(ended)

    async def upkeep(self) -> None:
        """Do nothing: memory needs none."""

    def _same(self, job: StoredJob, *statuses: Status) -> StoredJob | None:
        """Return the stored job if it has one of ``statuses`` and still matches ``job``."""
        current = self._jobs.get(job.id)
        if current is None or current.status not in statuses:
            return None
        is_same = (current.status, current.attempts) == (job.status, job.attempts)
        return current if is_same else None

    def _set(self, job: StoredJob) -> StoredJob:
        """Replace the stored job, and update its handler's queue and the counts."""
        former = self._jobs.get(job.id)
        if former is not None:
            self._leave(former)
        self._jobs[job.id] = job
        self._count(job, 1)
        if job.status is Status.QUEUED:
            self._lines[job.handler].enter(job)
        return job

    def _leave(self, job: StoredJob) -> None:
        self._count(job, -1)
        if job.status is Status.QUEUED:
            self._lines[job.handler].leave(job)

    def _count(self, job: StoredJob, change: int) -> None:
        self._counts[job.status, job.handler] += change
        self._room.bytes += change * job_bytes(job)
        self._room.queued += change * (job.status is Status.QUEUED)

    def _add_events(self, job_id: str, events: Iterable[Event]) -> None:
        added = list(events)
        self._events[job_id] += added
        self._room.bytes += event_bytes(added)

    def _delete(self, job: StoredJob) -> None:
        self._leave(job)
        _release(job)
        del self._jobs[job.id]
        self._room.bytes -= event_bytes(self._events.pop(job.id, ()))
        self._forget_deliveries(job.id)
        if job.idempotency_key is not None:
            del self._keys[job.owner, job.handler, job.idempotency_key]


def _order(job: StoredJob) -> tuple[int, int]:
    return rank(job), job.seq


def _on_disk(body: Input) -> SpooledBody:
    """Return a copy of an input in a temporary file; on another thread."""
    if not isinstance(body, bytes):
        return body.share()
    copy = SpooledBody.new()
    try:
        copy.write(body)
    except BaseException:
        copy.close()
        raise
    return copy


def _release(job: NewJob) -> None:
    """Close the input of a job, if it is on disk."""
    if isinstance(job.body, SpooledBody):
        job.body.close()
