"""The interface of every store of background jobs."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from potassium.jobs.model import Census, Event, NewJob, Status, StoredJob
from potassium.webhooks.model import Delivery, DeliveryStore

__all__ = ["EVENTS_BYTES", "JobStore", "StoreListener"]

PRIORITY_STEP = 256  # each lower level of priority counts as submitted this many jobs later
EVENTS_BYTES = 256 * 1024  # bytes of events read at a time, unless one is larger


class StoreListener(Protocol):
    """Is told what other servers do with a store that they share. All of it is on the event loop.

    It must not block and must not raise. It may be told too much, never too little.
    """

    def queued(self, *, suspects: bool) -> None:
        """Look for jobs to run, and with ``suspects`` for suspects, too."""

    def cleared(self) -> None:
        """Do not wait for suspects: a moment ago, none was queued."""

    def changed(self, job_ids: Collection[str]) -> None:
        """Look at these jobs: they have new events."""

    def ended(self, job_ids: Collection[str]) -> None:
        """Look at these jobs: they may have ended."""

    def asked_to_end(self, job_ids: Collection[str]) -> None:
        """End those of these jobs that run here."""

    def lost_claims(self) -> None:
        """End all that runs here: other servers may have taken up every job that was claimed."""

    def posted(self) -> None:
        """Look for webhooks to deliver."""

    def missed(self) -> None:
        """Look at everything: some of the above may not have been told."""


class JobStore(DeliveryStore, Protocol):
    """Keeps jobs, their events, and the deliveries about them.

    Many servers may share one store. A claim is a lease: from then on the store renews it, until
    the job is no longer running or the store is closed. Each write names its claim
    (``StoredJob.attempts`` is the fencing token), so a claimant that has lost a job can no longer
    end it. If the process dies or hangs, the lease ends, and another server takes the job up.

    Once a method that writes has returned, a durable store keeps what it wrote whatever happens to
    the process. Writes are atomic. Any method may raise ``StoreFailed``; nothing has changed then,
    unless the store is on another machine that can no longer be asked. So ``end``, ``put_back``
    and ``note`` can be repeated: if the first call has had its effect, the second returns the same.
    If a write is cancelled, it may or may not happen.

    All times are in seconds by ``clock``, and ``now`` is what it says. A store is bounded by
    ``Jobs(max_queued=, max_bytes=)``; only what makes it larger without need is refused.

    Attributes:
        fault: why nothing can be stored, in words that anybody may read; None while it can.
        is_durable: whether what is stored is still there after a restart.
        is_shared: whether other servers may use the store at the same time.

    """

    is_durable: bool
    is_shared: bool

    @property
    def fault(self) -> str | None: ...  # noqa: D102 - above

    def follow(self, listener: StoreListener) -> None:
        """Tell ``listener`` from now on what others do; one that is not shared tells nothing."""

    async def open(self) -> None:
        """Make the store ready; also again, after it was closed.

        Raises:
            UsageError: another process uses the store, or it is not a store of Potassium.

        """

    def hurry(self) -> None:
        """Wait for a few seconds at most from now on: the server is stopping, and closes soon.

        What cannot be stored any more is taken up by another server.
        """

    async def close(self) -> None:
        """Finish the writes under way, and release everything."""

    async def submit(self, job: NewJob) -> StoredJob:
        """Queue a new job and return it, or return the job that has its idempotency key already.

        A large input may be on disk. It is the caller's: the store makes a copy.

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

    async def left_behind(self) -> Sequence[Sequence[StoredJob]]:
        """Return the running jobs whose claimants are gone, those of each claimant together.

        Nobody else is told of them for a while. Their inputs are left out.
        """

    async def ask_to_end(self, job: StoredJob) -> bool:
        """Let whoever runs a job know that it should end early.

        Returns False if the job does not run any more, or if only this server can run it.
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

        The job no longer expires, as it began in time. Returns False as ``end`` does. It may be
        put back as a suspect while its claimant lives, if only the worker process died that ran it.

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

    async def delete_ended(
        self,
        *,
        before: float,
        limit: int,
        status: Status | None = None,
        owner: str | None = None,
    ) -> int:
        """Delete up to ``limit`` jobs that ended before ``before``; return how many.

        With ``status``, only those that ended in this way; with ``owner``, only theirs. Their
        events and deliveries are deleted too. A job with pending deliveries is kept. None is left
        if this returns 0.
        """

    async def upkeep(self) -> None:
        """Do what has to be done now and then, in small steps."""
