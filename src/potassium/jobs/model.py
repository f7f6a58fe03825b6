"""A background job as it is stored, and the states it goes through.

    queued ──claim──> running ──> succeeded
      │  ^               │ ├────> failed ──retry by hand──> queued
      │  └─put back──────┘ └────> cancelled
      ├──> cancelled
      └──> expired

``claim``, ``put back`` and the ends of a running job belong to the runner; ``cancel`` and ``retry``
to whoever asks over HTTP; ``expired`` to the sweeper. Every transition names the state it starts
from, so that of two at once one comes to nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from potassium.errors import IdempotencyKeyReused

__all__ = ["Event", "NewJob", "Status", "StoredJob", "queued", "same_or_refused"]


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to the job any more by itself."""
        return self not in (Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A call that is to be run in the background. Times are in seconds since the epoch.

    Attributes:
        id: unguessable; who knows it may read and cancel the job.
        handler: the path of the handler.
        body: of the request, as it came.
        headers: of the request, names in lower case, without those that hold credentials.
        request_id: of the request that submitted it.
        priority: 0 low, 1 normal, 2 high.
        attempts_limit: how often it may be tried.
        created_at: when it was submitted.
        expires_at: when it is of no use any more, if it has not begun by then; None for never.
        webhook_url: where the client wants the job document posted when it has ended.
        idempotency_key: names the job for its client; the same key for the same handler is the
            same job.
        fingerprint: a hash of what was asked for; the same key with another one is a mistake.

    """

    id: str
    handler: str
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    request_id: str
    priority: int = 1
    attempts_limit: int = 1
    created_at: float
    expires_at: float | None = None
    webhook_url: str | None = None
    idempotency_key: str | None = None
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob(NewJob):
    """A job as the store has it at one moment.

    Attributes:
        seq: its place in the order of submission, from 1 on.
        status: see ``Status``.
        due_at: when it may be claimed, while it is queued.
        started_at: when the last attempt began.
        finished_at: when it came to its end.
        attempts: how often it was claimed. Of a running job it is the fencing token too: who
            claimed it before has an older one, and cannot change it any more.
        crashes: how often the process died that was at it.
        progress: 0 to 1, as the handler has told last.
        message: what the handler has told last, beside the progress.
        output: JSON, of one that has succeeded.
        error: a problem document (RFC 9457) as JSON, of one that has not; while it is queued
            again, of its last attempt.

    """

    seq: int
    status: Status
    due_at: float
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    crashes: int = 0
    progress: float | None = None
    message: str | None = None
    output: bytes | None = None
    error: bytes | None = None

    def claimed(self, now: float) -> "StoredJob":
        """Return the job as it is once it was claimed: one more attempt, with no progress yet."""
        return replace(
            self,
            status=Status.RUNNING,
            attempts=self.attempts + 1,
            started_at=now,
            progress=None,
            message=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a job, as its event stream tells it.

    Attributes:
        id: counts up from 1 within the job.
        kind: ``status``, ``progress`` or ``chunk``.
        data: JSON.

    """

    id: int
    kind: str
    data: bytes


_GIVEN = [field.name for field in fields(NewJob) if field.name != "headers"]


def queued(job: NewJob, seq: int) -> StoredJob:
    """Return a new job as it is stored: the how-manieth of all, due at once."""
    return StoredJob(
        **{name: getattr(job, name) for name in _GIVEN},
        headers=tuple((name, value) for name, value in job.headers),
        seq=seq,
        status=Status.QUEUED,
        due_at=job.created_at,
    )


def same_or_refused(known: StoredJob, job: NewJob) -> StoredJob:
    """Return the job that an idempotency key names already.

    Raises:
        IdempotencyKeyReused: it was submitted with other content.

    """
    if known.fingerprint != job.fingerprint:
        raise IdempotencyKeyReused(
            "This idempotency key was already used for a job with different content."
        )
    return known
