"""A background job as it is stored, and the states that it goes through.

    queued ──claim──> running ──> succeeded
      │  ^               │ ├────> failed ──retry──> queued
      │  └─put back──────┘ └────> cancelled
      ├──> cancelled
      └──> expired

The runner claims jobs, puts them back, and ends running ones. Clients cancel and retry jobs over
HTTP. The sweeper expires them. Every transition names the state that it starts from, so only one of
two simultaneous transitions takes effect.

Any job that was running when its process died may be why: it is a suspect. The process is the
server, or the worker process that ran the job. Suspects run one at a
time, with no other job beside them, so that a further crash concerns one job alone.

    clear ──process died──> suspect ──claim──> running alone ──any outcome──> clear
                              ^  ^                 │ │
                              │  └─server stopped──┘ │
                              └─────process died─────┴──too often──> failed
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from potassium.errors import IdempotencyKeyReused
from potassium.jobs.inputs import Input

__all__ = [
    "LARGEST_SHOWN",
    "Census",
    "Event",
    "NewJob",
    "Status",
    "StoredJob",
    "queued",
    "same_or_refused",
]

LARGEST_SHOWN = 1024 * 1024  # bytes of an output that is part of the job's document


class Status(StrEnum):
    """The state of a job.

    Attributes:
        QUEUED: it waits for its first attempt, or for the next one.
        RUNNING: it is claimed; its handler runs, or is about to.
        SUCCEEDED: it has an output.
        FAILED: it ended with an error, and is not tried again unless a client asks for it.
        CANCELLED: it was cancelled before it had another outcome.
        EXPIRED: it did not begin before its ``expires_at``.

    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended and does not change again by itself."""
        return self not in (Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How many jobs a store holds at one moment.

    Attributes:
        jobs: the number of jobs by handler and status; those that are 0 may be left out.
        oldest: when the oldest queued job and the oldest running one were submitted, in seconds by
            the clock of the store; without those of which there is none.

    """

    jobs: Mapping[tuple[str, Status], int]
    oldest: Mapping[Status, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A call to run in the background. Times are in seconds since the epoch.

    Attributes:
        id: unguessable; whoever knows it may read and cancel the job.
        handler: the path of the handler.
        body: the request body, unchanged; on disk if it is large.
        headers: the request headers, names in lower case, without those that hold credentials.
        request_line: the method, path and query of the request, see ``http.request_line``.
        request_id: the ID of the request that submitted the job.
        priority: 0 low, 1 normal, 2 high.
        attempts_limit: the maximum number of attempts.
        created_at: when the job was submitted.
        expires_at: when the job expires if it has not begun; None for never.
        webhook_url: where the client wants the job document posted when the job has ended.
        idempotency_key: chosen by the client; the same key for the same handler and owner means
            the same job.
        fingerprint: a hash of the content; the same key with another fingerprint is an error.
        owner: the name of whose job it is; others see neither it nor its idempotency key. Empty
            if jobs belong to nobody.

    """

    id: str
    handler: str
    body: Input
    headers: Sequence[tuple[str, str]] = ()
    request_line: str = ""
    request_id: str
    priority: int = 1
    attempts_limit: int = 1
    created_at: float
    expires_at: float | None = None
    webhook_url: str | None = None
    idempotency_key: str | None = None
    fingerprint: bytes = b""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob(NewJob):
    """A job as it is stored at one moment.

    Attributes:
        seq: its position in the order of submission, from 1.
        status: see ``Status``.
        due_at: when it may be claimed, while it is queued.
        started_at: when the last attempt began.
        finished_at: when it ended.
        attempts: how often it was claimed. For a running job this is also the fencing token: an
            earlier claimant has an older one, and can no longer change the job.
        crashes: how often the process died while it ran this job and no other, since the job last
            had an outcome.
        is_suspect: whether the process died while it ran the job, which has had no outcome since.
        progress: 0 to 1, as last reported by the handler.
        message: the text last reported by the handler, along with the progress.
        output: the result, if it succeeded.
        output_type: the content type of the output; None for JSON.
        output_size: the size of the output in bytes, also where the output is left out.
        error: a problem document (RFC 9457) as JSON, if it did not succeed; while it is queued
            again, the error of its last attempt.

    """

    seq: int
    status: Status
    due_at: float
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    crashes: int = 0
    is_suspect: bool = False
    progress: float | None = None
    message: str | None = None
    output: bytes | None = None
    output_type: str | None = None
    output_size: int | None = None
    error: bytes | None = None

    @property
    def is_linked(self) -> bool:
        """Whether the job's document has a link to the output in its place."""
        return self.output_type is not None or (self.output_size or 0) > LARGEST_SHOWN

    @property
    def light(self) -> "StoredJob":
        """The job without its input and output, which may be large."""
        return replace(self, body=b"", headers=(), request_line="", output=None)

    @property
    def without_input(self) -> "StoredJob":
        """The job without its input, which is not kept once nothing can run it again."""
        return replace(self, body=b"", headers=(), request_line="")

    def is_due(self, now: float) -> bool:
        """Return whether a queued job may be claimed at ``now`` like any other."""
        if self.is_suspect:
            return False
        return self.due_at <= now and (self.expires_at is None or self.expires_at > now)

    def claimed(self, now: float) -> "StoredJob":
        """Return the job as claimed at ``now``: running, with one more attempt and no progress."""
        return replace(
            self,
            status=Status.RUNNING,
            attempts=self.attempts + 1,
            started_at=now,
            progress=None,
            message=None,
        )

    def suspected(self, *, was_alone: bool) -> "StoredJob":
        """Return the job as a suspect: its process died, which counts if the job ``was_alone``.

        Of several that ran, any may be the culprit.
        """
        return replace(self, crashes=self.crashes + was_alone, is_suspect=True)

    def cleared(self) -> "StoredJob":
        """Return the job without suspicion, as it has had an outcome."""
        return replace(self, crashes=0, is_suspect=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a job, as sent in its event stream.

    Attributes:
        id: counts up from 1 within each job.
        kind: ``status``, ``progress`` or ``chunk``.
        data: JSON.

    """

    id: int
    kind: str
    data: bytes


_GIVEN = [field.name for field in fields(NewJob) if field.name != "headers"]


def queued(job: NewJob, seq: int) -> StoredJob:
    """Return a new job as it is stored: number ``seq`` of all jobs, and due at once."""
    return StoredJob(
        **{name: getattr(job, name) for name in _GIVEN},
        headers=tuple((name, value) for name, value in job.headers),
        seq=seq,
        status=Status.QUEUED,
        due_at=job.created_at,
    )


def same_or_refused(known: StoredJob, job: NewJob) -> StoredJob:
    """Return ``known``, the job that already has the idempotency key of ``job``.

    Raises:
        IdempotencyKeyReused: ``known`` was submitted with different content.

    """
    if known.fingerprint != job.fingerprint:
        raise IdempotencyKeyReused(
            "This idempotency key was already used for a job with different content."
        )
    return known
