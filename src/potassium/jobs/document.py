"""A background job as clients see it."""

from datetime import UTC, datetime
from typing import Any

import orjson

from potassium.jobs.model import Status, StoredJob
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["document", "rfc3339"]


def document(job: StoredJob, clock: SteadyClock, *, position: int | None = None) -> dict[str, Any]:
    """Return the job document, ready to be encoded as JSON.

    ``clock`` is that of the store. The output is left out where ``job`` was read without it.
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
    if job.output is not None:
        shown["output"] = orjson.Fragment(job.output)
    if job.error is not None:
        shown["error"] = orjson.Fragment(job.error)
    return shown


def rfc3339(seconds: float | None, clock: SteadyClock) -> str | None:
    """Return a time of a store as text (RFC 3339), in UTC, to the millisecond."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(clock.shown(seconds), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
