"""What ``MemoryStore`` only reads."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from operator import itemgetter

from potassium.config import Webhooks
from potassium.jobs.model import Census, Event, NewJob, Status, StoredJob, same_or_refused
from potassium.jobs.order import JobOrder
from potassium.jobs.room import FULL_PAUSE, Room
from potassium.jobs.unshared import Unshared
from potassium.webhooks.memory_store import MemoryDeliveries

__all__ = ["MemoryQueries"]


class MemoryQueries(Unshared, MemoryDeliveries):
    """The part of ``MemoryStore`` that only reads."""

    _room: Room

    def __init__(self, webhooks: Webhooks | None) -> None:
        super().__init__(webhooks)
        self._jobs: dict[str, StoredJob] = {}  # in order of submission
        self._keys: dict[tuple[str, str, str | None], str] = {}
        self._events: defaultdict[str, list[Event]] = defaultdict(list)
        self._lines: defaultdict[str, JobOrder] = defaultdict(JobOrder)
        self._counts: Counter[tuple[Status, str]] = Counter()

    async def known(self, job: NewJob) -> StoredJob | None:
        """Return the job that has the idempotency key of ``job`` already, or None."""
        known = self._keys.get((job.owner, job.handler, job.idempotency_key))
        return None if known is None else same_or_refused(self._jobs[known].light, job)

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job without its input and output, or None if it does not exist."""
        job = self._jobs.get(job_id)
        return None if job is None else job.light

    async def output(self, job_id: str) -> bytes | None:
        """Return the output of a job, or None if it has none."""
        job = self._jobs.get(job_id)
        return None if job is None else job.output

    async def find(
        self,
        *,
        status: Status | None = None,
        owner: str | None = None,
        limit: int,
        after: str | None = None,
    ) -> Sequence[StoredJob]:
        """Return up to ``limit`` jobs, newest first; with ``after``, only those older than it."""
        last = None if after is None else self._jobs.get(after)
        if after is not None and (last is None or owner not in (None, last.owner)):
            return ()
        fitting = (
            job.light
            for job in reversed(self._jobs.values())
            if (last is None or job.seq < last.seq)
            and status in (None, job.status)
            and owner in (None, job.owner)
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

    async def census(self) -> Census:
        """Return how many jobs there are of each handler and status."""
        oldest: dict[Status, float] = {}
        for job in self._jobs.values():
            if not job.status.is_final and job.status not in oldest:
                oldest[job.status] = job.created_at
        jobs = {(handler, status): count for (status, handler), count in self._counts.items()}
        return Census(jobs=jobs, oldest=oldest)

    async def waiting(self) -> Collection[str]:
        """Return the handlers that have queued jobs."""
        return [
            handler
            for (status, handler), jobs in self._counts.items()
            if status is Status.QUEUED and jobs
        ]

    async def next_job(self, handlers: Collection[str]) -> float | None:
        """Return when the next queued job of ``handlers`` is due, or None if there is none."""
        if not self._room.may_begin():
            return self.clock() + FULL_PAUSE
        queued = (job for handler in handlers for job in self._queued(handler))
        return min((job.due_at for job in queued if not job.is_suspect), default=None)

    async def left_behind(self) -> Sequence[Sequence[StoredJob]]:
        """Return nothing: a process that dies takes all its jobs with it."""
        return ()

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to ``limit`` events of a job, starting after the event ``after``."""
        later = (event for event in self._events.get(job_id, ()) if event.id > after)
        return list(islice(later, limit))

    async def last_event(self, job_id: str) -> int:
        """Return the id of a job's last event, or 0 if it has none."""
        events = self._events.get(job_id)
        return events[-1].id if events else 0

    async def overdue(self, *, now: float, limit: int) -> Sequence[StoredJob]:
        """Return up to ``limit`` queued jobs whose ``expires_at`` has passed, without inputs."""
        expired = [
            job.light
            for handler in self._lines
            for job in self._queued(handler)
            if job.expires_at is not None and job.expires_at <= now
        ]
        return sorted(expired, key=lambda job: (job.expires_at, job.seq))[:limit]

    def _ended(
        self, before: float, status: Status | None, owner: str | None
    ) -> Sequence[StoredJob]:
        """Return the jobs that ended before a time, the first first; none with webhooks to come."""
        ended = [
            (job.finished_at, job.seq, job)
            for job in self._jobs.values()
            if job.finished_at is not None
            and job.finished_at < before
            and status in (None, job.status)
            and owner in (None, job.owner)
            and not self._has_undone(job.id)
        ]
        return [job for *_, job in sorted(ended, key=itemgetter(0, 1))]

    def _queued(self, handler: str) -> Iterator[StoredJob]:
        return (self._jobs[job_id] for job_id in self._lines[handler])
