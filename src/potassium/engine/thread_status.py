"""What the GPU thread is doing, and whether it still can."""

import time
from collections.abc import Callable

from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.errors import DeadlineExceeded

__all__ = ["ThreadStatus"]


class ThreadStatus:
    """What a GPU thread is doing. The thread writes it; any thread may read it.

    Args:
        is_fatal: returns whether an error means that the thread can run nothing any more.

    Attributes:
        fatal: the error after which the thread runs nothing; None until there is one.
        current: the job that it is running; None if it is idle.
        since: when it began to run that one, or to be idle, in monotonic seconds.
        progressed_at: when that one last told that it goes on.
        busy: the seconds spent on the groups and steps that have ended.
        busy_since: when the group or step that it runs began; None while it is idle.

    """

    def __init__(
        self,
        *,
        is_fatal: Callable[[BaseException], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fatal: BaseException | None = None
        self.current: Job | None = None
        self.since = clock()
        self.progressed_at = self.since
        self.busy = 0.0
        self.busy_since: float | None = None
        self.clock = clock
        self._is_fatal = is_fatal

    def note_progress(self, job: Job) -> None:
        """Note that ``job``, if it is the one that runs, goes on; may be called on any thread."""
        if self.current is job:
            self.progressed_at = self.clock()

    def rest(self, started: float, now: float) -> None:
        """Note that the thread is idle, after it was busy from ``started`` to ``now``."""
        self.current, self.since, self.busy_since = None, now, None
        self.busy += now - started

    def note_error(self, error: BaseException) -> None:
        """Note that running a job has raised ``error``."""
        if self._is_fatal(error):
            self.fatal = error

    def failure(self, error: BaseException) -> Failure:
        """Return what a job ends with that has raised ``error``."""
        self.note_error(error)
        # Without the caller's own frame, which holds the job and so would create a reference cycle.
        traceback = error.__traceback__
        return Failure(error.with_traceback(traceback and traceback.tb_next))

    def lateness(self, job: Job) -> Failure | None:
        """Return the failure of a call that saw its deadline pass and so ended early, or None."""
        return Failure(DeadlineExceeded()) if job.is_unwanted(self.clock()) else None
