"""The order in which queued jobs run."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from potassium.jobs.model import StoredJob
from potassium.jobs.store import PRIORITY_STEP

__all__ = ["JobOrder", "rank"]

HIGHEST = 2  # priority; jobs of lower priority count as submitted later


def rank(job: StoredJob) -> int:
    """Return the sort key of a job, which never changes; the job with the lowest key is next."""
    return job.seq + (HIGHEST - job.priority) * PRIORITY_STEP


class JobOrder:
    """The queued jobs of one handler in memory, in the order in which they run."""

    def __init__(self) -> None:
        self._places: list[tuple[int, int, str]] = []

    def __iter__(self) -> Iterator[str]:
        """Return the ids of the jobs, the next one first."""
        return (job_id for _, _, job_id in self._places)

    def enter(self, job: StoredJob) -> None:
        """Insert a job at its position."""
        insort(self._places, _place(job))

    def leave(self, job: StoredJob) -> None:
        """Remove a job."""
        del self._places[bisect_left(self._places, _place(job))]

    def before(self, job: StoredJob) -> int:
        """Return how many jobs run before this one."""
        return bisect_left(self._places, _place(job))


def _place(job: StoredJob) -> tuple[int, int, str]:
    return rank(job), job.seq, job.id
