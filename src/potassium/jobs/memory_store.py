"""A job store in memory, which ends with the process."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from potassium.config import Webhooks
from potassium.jobs.model import Event, NewJob, Status, StoredJob, queued, same_or_refused
from potassium.jobs.order import JobOrder, rank
from potassium.webhooks.memory_store import MemoryDeliveries
from potassium.webhooks.model import Delivery

__all__ = ["MemoryStore"]


class MemoryStore(MemoryDeliveries):
    """A ``JobStore`` in the memory of one process, for development and tests.

    Args:
        webhooks: bounds the deliveries.

    """

    def __init__(self, *, webhooks: Webhooks | None = None) -> None:
        super().__init__(webhooks)
        self._jobs: dict[str, StoredJob] = {}  # in order of submission
        self._keys: dict[tuple[str, str, str], str] = {}
        self._events: defaultdict[str, list[Event]] = defaultdict(list)
        self._lines: defaultdict[str, JobOrder] = defaultdict(JobOrder)
        self._counts: Counter[tuple[Status, str]] = Counter()
        self._submitted = 0

    async def open(self) -> None:
        """Do nothing: the store is always ready."""

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def submit(self, job: NewJob) -> StoredJob:
        """Queue a new job and return it, or return the job that has its idempotency key already."""
        if job.idempotency_key is not None:
            key = (job.owner, job.handler, job.idempotency_key)
            if (known := self._keys.get(key)) is not None:
                return same_or_refused(self._jobs[known], job)
            self._keys[key] = job.id
        self._submitted += 1
        stored = queued(job, self._submitted)
        self._set(stored)
        return stored

    async def known(self, job: NewJob) -> StoredJob | None:
        """Return the job that has the idempotency key of ``job`` already, or None."""
        known = self._keys.get((job.owner, job.handler, job.idempotency_key or ""))
        return None if known is None else same_or_refused(self._jobs[known], job)

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job, or None if it does not exist."""
        return self._jobs.get(job_id)

    async def find(
        self,
        *,
        status: Status | None = None,
        owner: str | None = None,
        limit: int,
        after: str | None = None,
    ) -> Sequence[StoredJob]:
        """Return up to ``limit`` jobs, newest first; with ``after``, only those older than it."""
        before = self._submitted + 1
        if after is not None:
            known = self._jobs.get(after)
            before = 0 if known is None or owner not in (None, known.owner) else known.seq
        fitting = (
            replace(job, body=b"", output=None)
            for job in reversed(self._jobs.values())
            if job.seq < before and status in (None, job.status) and owner in (None, job.owner)
        )
        return list(islice(fitting, limit))

    async def position(self, job: StoredJob) -> int:
        """Return the position of a queued job among those of its handler, from 1."""
        return self._lines[job.handler].before(job) + 1

    async def count(self, status: Status, handler: str | None = None) -> int:
        """Return how many jobs have a status, of all handlers or of one."""
        if handler is not None:
            return self._counts[status, handler]
        return sum(jobs for (one, _), jobs in self._counts.items() if one is status)

    async def waiting(self) -> Collection[str]:
        """Return the handlers that have queued jobs."""
        return [
            handler
            for (status, handler), jobs in self._counts.items()
            if status is Status.QUEUED and jobs
        ]

    async def claim(
        self, *, handlers: Collection[str], limit: int, now: float
    ) -> Sequence[StoredJob]:
        """Claim up to ``limit`` queued jobs of ``handlers``: the next ones that are due."""
        first = [
            job
            for handler in set(handlers)
            for job in islice((job for job in self._queued(handler) if _is_due(job, now)), limit)
        ]
        return [self._set(job.claimed(now)) for job in sorted(first, key=_order)[:limit]]

    async def claim_suspect(self, *, handlers: Collection[str], now: float) -> StoredJob | None:
        """Claim the next queued suspect of ``handlers``, or return None if there is none."""
        queued = (job for handler in handlers for job in self._queued(handler))
        job = min((job for job in queued if job.is_suspect), key=_order, default=None)
        return None if job is None else self._set(job.claimed(now))

    async def next_job(self, handlers: Collection[str]) -> float | None:
        """Return when the next queued job of ``handlers`` is due, or None if there is none."""
        queued = (job for handler in handlers for job in self._queued(handler))
        return min((job.due_at for job in queued if not job.is_suspect), default=None)

    async def keep(self, job_ids: Collection[str]) -> Collection[str]:  # noqa: ARG002 - none is lost
        """Return nothing: within one process no claim is lost."""
        return ()

    async def left_behind(self) -> Sequence[StoredJob]:
        """Return nothing: a process that dies takes all its jobs with it."""
        return ()

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
        current = self._same(job, Status.QUEUED, Status.RUNNING)
        if current is None:
            return False
        self._set(
            replace(
                current,
                status=status,
                finished_at=now,
                output=output,
                error=error,
                crashes=job.crashes,
                is_suspect=job.is_suspect,
                progress=current.progress if job.progress is None else job.progress,
                message=current.message if job.message is None else job.message,
            )
        )
        self._events[job.id] += events
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
        self._events[job.id] += events
        return True

    async def retry(
        self, job: StoredJob, *, attempts_limit: int, now: float, events: Iterable[Event] = ()
    ) -> bool:
        """Queue a failed job again at its old position; return False as ``end`` does.

        The job no longer expires, as it began in time.
        """
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
        self._events[job.id] += events
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
        self._events[job.id] += events

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to ``limit`` events of a job, starting after the event ``after``."""
        later = (event for event in self._events.get(job_id, ()) if event.id > after)
        return list(islice(later, limit))

    async def last_event(self, job_id: str) -> int:
        """Return the id of a job's last event, or 0 if it has none."""
        events = self._events.get(job_id)
        return events[-1].id if events else 0

    async def overdue(self, *, now: float, limit: int) -> Sequence[StoredJob]:
        """Return up to ``limit`` queued jobs whose ``expires_at`` has passed, without bodies."""
        expired = [
            replace(job, body=b"")
            for handler in self._lines
            for job in self._queued(handler)
            if job.expires_at is not None and job.expires_at <= now
        ]
        return sorted(expired, key=lambda job: (job.expires_at, job.seq))[:limit]

    async def delete_ended(self, *, before: float, limit: int) -> int:
        """Delete up to ``limit`` jobs that ended before ``before``; return how many."""
        ended = [
            job
            for job in self._jobs.values()
            if job.finished_at is not None
            and job.finished_at < before
            and not self._has_undone(job.id)
        ]
        ended.sort(key=lambda job: (job.finished_at, job.seq))
        for job in ended[:limit]:
            self._delete(job)
        return len(ended[:limit])

    def _queued(self, handler: str) -> Iterator[StoredJob]:
        return (self._jobs[job_id] for job_id in self._lines[handler])

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
        self._counts[job.status, job.handler] += 1
        if job.status is Status.QUEUED:
            self._lines[job.handler].enter(job)
        return job

    def _leave(self, job: StoredJob) -> None:
        self._counts[job.status, job.handler] -= 1
        if job.status is Status.QUEUED:
            self._lines[job.handler].leave(job)

    def _delete(self, job: StoredJob) -> None:
        self._leave(job)
        del self._jobs[job.id]
        self._events.pop(job.id, None)
        self._forget_deliveries(job.id)
        if job.idempotency_key is not None:
            del self._keys[job.owner, job.handler, job.idempotency_key]


def _is_due(job: StoredJob, now: float) -> bool:
    if job.is_suspect:
        return False
    return job.due_at <= now and (job.expires_at is None or job.expires_at > now)


def _order(job: StoredJob) -> tuple[int, int]:
    return rank(job), job.seq
