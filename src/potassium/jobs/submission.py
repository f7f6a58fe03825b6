"""What becomes of a call that is submitted."""

from dataclasses import fields

from potassium.errors import IdempotencyKeyReused
from potassium.jobs.model import NewJob, Status, StoredJob

__all__ = ["queued", "same_or_refused"]

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
            "This idempotency key was used before, for a job with other content."
        )
    return known
