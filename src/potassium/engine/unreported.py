"""The jobs of a running group that are done, and that the loop does not know of."""

from collections import deque
from contextlib import suppress

from potassium.engine.job import Job

__all__ = ["Unreported"]


class Unreported(deque[Job]):
    """Jobs that have their outcome; ``take`` may be called on any thread.

    The thread that runs a group adds each job as it is done, and reports them when the group ends,
    or after a while. If the group does not end by then, because the next job turns out slow, the
    loop takes them itself.
    """

    def take(self) -> list[Job]:
        """Return all jobs, each of them only once, whoever asks."""
        jobs: list[Job] = []
        with suppress(IndexError):  # there are no more
            while True:
                jobs.append(self.popleft())
        return jobs
