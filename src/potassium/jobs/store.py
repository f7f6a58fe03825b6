"""The interface of every store of background jobs."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from potassium.jobs.model import Census, Event, NewJob, Status, StoredJob
from potassium.webhooks.model import Delivery, DeliveryStore

__all__ = ["EVENTS_BYTES", "JobStore"]

PRIORITY_STEP = 256  # each lower level of priority counts as submitted this many jobs later
EVENTS_BYTES = 256 * 1024  # bytes of events read at a time, unless one is larger


class JobStore(DeliveryStore, Protocol):
    """Keeps jobs, their events, and the deliveries about them.

    The interface allows many servers to share one store. A claim is a lease: the claimant renews
    it with ``keep``, and each of its writes names the claim (``StoredJob.attempts`` is the fencing
    token), so a claimant that has lost a job can no longer end it.

    Once a method that writes has returned, a durable store keeps what it wrote whatever happens to
    the process. Writes are atomic. Any method may raise ``StoreFailed``; nothing has changed then.
    If a write is cancelled, it may or may not happen.

    All times are in seconds by ``clock``, and ``now`` is what it says. A store is bounded by
    ``Jobs(max_queued=, max_bytes=)``; only what makes it larger without need is refused.

    Attributes:
        fault: why nothing can be stored, in words that anybody may read; None while it can.

    """

    @property
    def fault(self) -> str | None: ...  # noqa: D102 - above

    async def open(self) -> None:
        """Make the store ready.

        Raises:
            UsageError: another process uses the store, or it is not a store of Potassium.

        """

    async def close(self) -> None:
        """Finish the writes under way, and release everything."""

    async def submit(self, job: NewJob) -> StoredJob:
        """Queue a new job and return it, or return the job that has its idempotency key already.

        A large input is kept on disk. The store makes a copy of one that is there already.

        Raises:
            IdempotencyKeyReused: that job has another fingerprint.
            StoreFull: the store has no room for a new job.

        """

    async def known(self, job: NewJob) -> StoredJob | None:
        """Return the job that has the idempotency key of ``job`` already, or None.

        Raises:
            IdempotencyKeyReused: that job has another fingerprint.

        """

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job without its input and output, or None if it does not exist."""

    async def output(self, job_id: str) -> bytes | None:
        """Return the output of a job, or None if it has none."""

    async def find(
        self,
        *,
        status: Status | None = None,
        owner: str | None = None,
        limit: int,
        after: str | None = None,
    ) -> Sequence[StoredJob]:
        """Return up to ``limit`` jobs, newest first; with ``after``, only those older than it.

        Their inputs and outputs are left out. Nothing comes after an unknown ``after``. With
        ``owner``, jobs of others are not there, and ``after`` may not name one of them.
        """

    async def position(self, job: StoredJob) -> int:
        """Return the position of a queued job among those of its handler, from 1."""

    async def count(self, status: Status, handler: str | None = None) -> int:
        """Return how many jobs have a status, of all handlers or of one, without a scan."""

    async def census(self) -> Census:
        """Return how many jobs there are of each handler and status, without a scan."""

    async def waiting(self) -> Collection[str]:
        """Return the handlers that have queued jobs, without a scan."""

    async def claim(
        self, *, handlers: Collection[str], limit: int, now: float
    ) -> Sequence[StoredJob]:
        """Claim up to ``limit`` queued jobs of ``handlers``: the next ones that are due.

        The job submitted first is next. For each level below the highest priority, a job counts
        as submitted ``PRIORITY_STEP`` jobs later, so that none starves. Claimed jobs are running,
        with one more attempt, started at ``now``. Expired jobs and suspects are left out. There are
        fewer if their inputs are large, and none while the store has no room for results.
        """

    async def claim_suspect(self, *, handlers: Collection[str], now: float) -> StoredJob | None:
        """Claim the next queued suspect of ``handlers``, or return None if there is none.

        Suspects have the same order as other jobs, and are always due.

        Raises:
            StoreFull: there is one, but the store has no room for results.

        """

    async def next_job(self, handlers: Collection[str]) -> float | None:
        """Return when the next queued job of ``handlers`` is due, or None if there is none.

        Suspects do not count.
        """

    async def keep(self, job_ids: Collection[str]) -> Collection[str]:
        """Renew the claims on these jobs; return the ids of those that the caller has lost."""

    async def left_behind(self) -> Sequence[StoredJob]:
        """Return the running jobs whose claimant is gone because its process died.

        Their inputs are left out.
        """

    async def end(  # noqa: PLR0913 - all of it in one transaction
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
        """End a job, and store its last events and the deliveries about it.

        The ``crashes`` and ``is_suspect`` of ``job`` are stored, and its progress and message
        unless they are None. The input is kept only if the job failed, because then it may be
        retried. Returns False, and changes nothing, if the job's status or attempts are no longer
        those of ``job``.
        """

    async def put_back(
        self,
        job: StoredJob,
        *,
        due_at: float,
        error: bytes | None,
        events: Iterable[Event] = (),
        counts: bool = True,
    ) -> bool:
        """Queue a running job again at its old position, due at ``due_at``.

        The job no longer expires, as it began in time. Returns False as ``end`` does.

        Args:
            job: as it was claimed; its ``crashes`` and ``is_suspect`` are stored.
            due_at: when it may be claimed again, in seconds since the epoch.
            error: the error of the attempt, if it had one.
            events: stored with the change.
            counts: whether the attempt counts; otherwise the limit of attempts is raised by one.

        """

    async def retry(
        self, job: StoredJob, *, attempts_limit: int, now: float, events: Iterable[Event] = ()
    ) -> bool:
        """Queue a failed job again at its old position; return False as ``end`` does.

        ``attempts_limit`` is its new limit, and includes the attempts already made.

        Raises:
            StoreFull: too many jobs are queued.

        """

    async def note(
        self,
        job: StoredJob,
        *,
        progress: float | None,
        message: str | None,
        events: Iterable[Event] = (),
    ) -> None:
        """Store the progress and events of a running job; do nothing if the claim is lost.

        A progress or message of None leaves the stored one unchanged.
        """

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to ``limit`` events of a job, starting after the event ``after``.

        There may be fewer if these have ``EVENTS_BYTES`` bytes or more, and none only after the
        last one.
        """

    async def last_event(self, job_id: str) -> int:
        """Return the id of a job's last event, or 0 if it has none."""

    async def overdue(self, *, now: float, limit: int) -> Sequence[StoredJob]:
        """Return up to ``limit`` queued jobs whose ``expires_at`` has passed, without inputs."""

    async def delete_ended(self, *, before: float, limit: int) -> int:
        """Delete up to ``limit`` jobs that ended before ``before``; return how many.

        Their events and deliveries are deleted too. A job with pending deliveries is kept. None is
        left if this returns 0.
        """

    async def upkeep(self) -> None:
        """Do what has to be done now and then, in small steps."""
