"""A background job as clients see it."""

from datetime import UTC, datetime
from typing import Any

import orjson

from potassium.jobs.model import Status, StoredJob
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["content_type_of", "document", "rfc3339"]


def document(
    job: StoredJob, clock: SteadyClock, *, position: int | None = None, root_path: str = ""
) -> dict[str, Any]:
    """Return the job document, ready to be encoded as JSON.

    An output that is large or not JSON is a link. Any other is left out where ``job`` was read
    without it.

    Args:
        job: the job.
        clock: that of the store.
        position: its position in its handler's queue.
        root_path: where clients find the app.

    """
    shown: dict[str, Any] = {
        "id": job.id,
        "handler": job.handler,
        "status": job.status.value,
        "created_at": rfc3339(job.created_at, clock),
        "started_at": rfc3339(job.started_at, clock),
        "finished_at": rfc3339(job.finished_at, clock),
        "attempts": job.attempts,
        "progress": job.progress,
        "message": job.message,
    }
    if job.status is Status.QUEUED and position is not None:
        shown["position"] = position
    if job.is_linked:
        shown["output_url"] = f"{root_path}/jobs/{job.id}/output"
        shown["output_type"] = job.output_type or "application/json"
        shown["output_size"] = job.output_size
    elif job.output is not None:
        shown["output"] = orjson.Fragment(job.output)
    if job.error is not None:
        shown["error"] = orjson.Fragment(job.error)
    return shown


def content_type_of(job: StoredJob) -> tuple[bytes, bytes]:
    """Return the header with the content type of a job's output."""
    return b"content-type", (job.output_type or "application/json").encode("latin-1")


def rfc3339(seconds: float | None, clock: SteadyClock) -> str | None:
    """Return a time of a store as text (RFC 3339), in UTC, to the millisecond."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(clock.shown(seconds), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
