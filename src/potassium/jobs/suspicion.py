"""Jobs that ran when their process died: which of them is why, and what the log says of them."""

import logging
from collections.abc import Sequence

from potassium.errors import Interrupted
from potassium.http.problem import problem_document
from potassium.jobs.model import StoredJob

__all__ = ["CRASHES", "interrupted", "is_culprit", "warn_of_server", "warn_of_worker"]

CRASHES = 3  # during which a job ran alone; after that it counts as their cause

MOST_NAMED = 10  # jobs in a log line

logger = logging.getLogger("potassium.jobs")


def is_culprit(suspect: StoredJob) -> bool:
    """Return whether processes have died often enough while they ran only this job."""
    return suspect.crashes >= max(suspect.attempts_limit, CRASHES)


def interrupted(culprit: StoredJob, *, died: str) -> bytes:
    """Log that a job is given up, as it is why ``died`` died; return its problem document."""
    error = Interrupted(f"{died} died {culprit.crashes} times while it ran only this job.")
    logger.error(
        "job %s failed: %s: %s", culprit.id, error.code, error.detail, extra=_about(culprit)
    )
    return problem_document(error, culprit.request_id)


def warn_of_server(left: Sequence[StoredJob]) -> None:
    """Log which jobs a server ran when it died."""
    logger.warning(
        "a server died while it ran %d background jobs, which now run again one by one, "
        "before all others: %s%s",
        len(left),
        ", ".join(job.id for job in left[:MOST_NAMED]),
        ", ..." if len(left) > MOST_NAMED else "",
    )


def warn_of_worker(job: StoredJob) -> None:
    """Log that a worker process died while it ran a job, alone or beside others."""
    logger.warning(
        "a worker process died while it ran job %s, which now runs again alone (attempt %d of %s)",
        job.id,
        job.attempts,
        job.handler,
        extra=_about(job),
    )


def _about(job: StoredJob) -> dict[str, str]:
    return {"request_id": job.request_id, "handler": job.handler, "job_id": job.id}
