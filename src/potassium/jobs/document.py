"""A background job as clients see it."""

from datetime import UTC, datetime
from typing import Any

import orjson

from potassium.jobs.model import Status, StoredJob

__all__ = ["document", "rfc3339"]


def document(
    job: StoredJob, *, position: int | None = None, with_output: bool = True
) -> dict[str, Any]:
    """Return the job document, ready to be encoded as JSON."""
    shown: dict[str, Any] = {
        "id": job.id,
        "handler": job.handler,
        "status": job.status.value,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "attempts": job.attempts,
        "progress": job.progress,
        "message": job.message,
    }
    if job.status is Status.QUEUED and position is not None:
        shown["position"] = position
    if job.output is not None and with_output:
        shown["output"] = orjson.Fragment(job.output)
    if job.error is not None:
        shown["error"] = orjson.Fragment(job.error)
    return shown


def rfc3339(seconds: float | None) -> str | None:
    """Return a time in seconds since the epoch as text (RFC 3339), in UTC, to the millisecond."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
