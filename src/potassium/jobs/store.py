"""What keeps background jobs: the interface that every store has."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from potassium.jobs.model import Event, NewJob, Status, StoredJob
from potassium.webhooks.model import Delivery, DeliveryStore

__all__ = ["JobStore"]

PRIORITY_STEP = 256  # jobs submitted later that one of the next higher priority may overtake


class JobStore(DeliveryStore, Protocol):
    """Keeps jobs, their events, and the deliveries that tell of them.

    Made so that many servers can share one. A claimed job is a lease: the claimant shows that it
    is alive with ``keep``, and each of its writes names the claim (``StoredJob.attempts`` is the
    fencing token), so that one who lost a job cannot end it any more.

    Once a method that writes has returned, a store that is durable keeps what it wrote whatever
    happens to the process; what was not written whole was not written at all. Any method may
    raise ``StoreFailed``; nothing has changed then. Cancellation of a write leaves open whether
    it happens.
    """

    async def open(self) -> None:
        """Make the store ready.

        Raises:
            UsageError: it is in use by another process, or is none of ours.

        """

    async def close(self) -> None:
        """Write what is under way, and let go of everything."""

    async def submit(self, job: NewJob) -> StoredJob:
        """Keep a new job, queued; return it, or the one that its idempotency key names already.

        Raises:
            IdempotencyKeyReused: that one has another fingerprint.

        """

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job, or None where there is none."""

    async def find(
        self, *, status: Status | None = None, limit: int, after: str | None = None
    ) -> Sequence[StoredJob]:
        """Return up to ``limit`` jobs, the newest first; those submitted before job ``after``.

        Without their bodies and outputs. Of an unknown ``after`` there is nothing after.
        """

    async def position(self, job: StoredJob) -> int:
        """Return the place of a queued job in its line, from 1 on."""

    async def count(self, status: Status, handler: str | None = None) -> int:
        """Return how many jobs have a status, of all handlers or of one; at once."""

    async def waiting(self) -> Collection[str]:
        """Return the handlers that queued jobs are for; at once."""

    async def claim(
        self, *, handlers: Collection[str], limit: int, now: float
    ) -> Sequence[StoredJob]:
        """Let up to ``limit`` queued jobs of ``handlers`` run: those that are next and due.

        Next is who was submitted first; one of lower priority counts as submitted
        ``PRIORITY_STEP`` jobs later for each level, so that none starves. They are running from
        now on, with one more attempt, started at ``now``; expired ones are left out.
        """

    async def next_job(self, handlers: Collection[str]) -> float | None:
        """Return when the next queued job of ``handlers`` is due; None where there is none."""

    async def keep(self, job_ids: Collection[str]) -> Collection[str]:
        """Show that these claims are alive; return those that are not the caller's any more."""

    async def left_behind(self) -> Sequence[StoredJob]:
        """Return the running jobs whose claimant is gone: of a process that died."""

    async def end(  # noqa: PLR0913 - all of it in one transaction
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
        """Bring a job to its end, with its last events and what is to be posted about it.

        The progress and message of ``job`` are kept, where it has any. Returns False, and changes
        nothing, where the job's status or attempts are not those of ``job`` any more.
        """

    async def put_back(  # noqa: PLR0913 - all of it in one transaction
        self,
        job: StoredJob,
        *,
        due_at: float,
        error: bytes | None,
        events: Iterable[Event] = (),
        counts: bool = True,
        crashed: bool = False,
    ) -> bool:
        """Queue a running job again, in its old place, from ``due_at`` on; False as for ``end``.

        It does not expire any more: it had begun in time. Where the attempt does not ``count``, it
        may be tried once more than before. ``crashed`` says that the process died that was at it.
        """

    async def retry(
        self, job: StoredJob, *, attempts_limit: int, now: float, events: Iterable[Event] = ()
    ) -> bool:
        """Queue a failed job again, in its old place; False as for ``end``.

        It may be tried until it was tried ``attempts_limit`` times in all.
        """

    async def note(
        self,
        job: StoredJob,
        *,
        progress: float | None,
        message: str | None,
        events: Iterable[Event] = (),
    ) -> None:
        """Keep the progress and events of a running job; nothing where the claim is lost.

        A progress or message of None leaves what was there.
        """

    async def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return up to ``limit`` events of a job, from the one after ``after`` on."""

    async def last_event(self, job_id: str) -> int:
        """Return the number of a job's last event, 0 where it has none."""

    async def overdue(self, *, now: float, limit: int) -> Sequence[StoredJob]:
        """Return up to ``limit`` queued jobs whose ``expires_at`` has passed, without bodies."""

    async def delete_ended(self, *, before: float, limit: int) -> int:
        """Delete up to ``limit`` jobs that ended before a time; return how many it were.

        With their events and deliveries. A job with deliveries yet to be tried stays.
        """
