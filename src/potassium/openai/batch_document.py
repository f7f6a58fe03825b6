"""A batch as clients see it: what was asked for, how far its run is, and what its job says."""

from typing import Any

import orjson

from potassium.jobs.model import Status, StoredJob
from potassium.openai.batches import Batch, Progress

__all__ = ["batch_document", "status_of"]

ENDED = ("completed", "failed", "expired", "cancelled")


def status_of(batch: Batch, progress: Progress, job: StoredJob | None) -> str:
    """Return the status of a batch.

    Args:
        batch: what was asked for.
        progress: how far its run is.
        job: the job that runs it, or has run it; None if it was deleted since.

    """
    if progress.status:
        return progress.status
    if job is None:
        return "failed" if batch.cancelling_at is None else "cancelled"
    if job.status.is_final:  # before the end of the batch
        return job.status.value if job.status in (Status.CANCELLED, Status.EXPIRED) else "failed"
    if batch.cancelling_at is not None:
        return "cancelling"
    if progress.finalizing_at is not None:
        return "finalizing"
    return "validating" if progress.in_progress_at is None else "in_progress"


def batch_document(
    batch: Batch, progress: Progress, job: StoredJob | None, results: set[str]
) -> dict[str, Any]:
    """Return OpenAI's batch object.

    Args:
        batch: what was asked for.
        progress: how far its run is.
        job: the job that runs it, or has run it; None if it was deleted since.
        results: the ids of the files of results that there are.

    """
    status = status_of(batch, progress, job)
    ended_at = progress.ended_at or _ended_at(batch, job) if status in ENDED else None
    is_shown = status in ENDED
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": _errors(progress, job) if status == "failed" else None,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": status,
        "output_file_id": batch.output_id if is_shown and batch.output_id in results else None,
        "error_file_id": batch.errors_id if is_shown and batch.errors_id in results else None,
        "created_at": batch.created_at,
        "in_progress_at": progress.in_progress_at,
        "expires_at": batch.expires_at,
        "finalizing_at": progress.finalizing_at,
        "completed_at": ended_at if status == "completed" else None,
        "failed_at": ended_at if status == "failed" else None,
        "expired_at": ended_at if status == "expired" else None,
        "cancelling_at": batch.cancelling_at,
        "cancelled_at": ended_at if status == "cancelled" else None,
        "request_counts": {
            "total": progress.total,
            "completed": progress.completed,
            "failed": progress.failed,
        },
        "metadata": batch.metadata,
    }


def _ended_at(batch: Batch, job: StoredJob | None) -> int:
    if job is None or job.finished_at is None:
        return batch.cancelling_at or batch.created_at
    return int(job.finished_at)


def _errors(progress: Progress, job: StoredJob | None) -> dict[str, Any]:
    """Return why a batch has failed: what is wrong with it, or what its job failed with."""
    errors = list(progress.errors)
    if not errors:
        problem = orjson.loads(job.error) if job is not None and job.error else {}
        message = problem.get("detail") or "The job that ran the batch has failed."
        errors = [{"code": problem.get("code", "failed"), "message": message}]
    known = {"code": None, "message": None, "param": None, "line": None}
    return {"object": "list", "data": [{**known, **error} for error in errors]}
