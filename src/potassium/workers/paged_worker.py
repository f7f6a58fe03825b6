"""The GPU thread of a worker process: it tells the front what it does, in shared memory."""

from collections.abc import Callable, Sequence
from math import nan
from typing import Any

from potassium.engine import Job
from potassium.engine.worker import Worker
from potassium.workers.arrivals import WorkerJob
from potassium.workers.page import BUSY, BUSY_SINCE, PROGRESSED_AT, SINCE, Page
from potassium.workers.traces import attach

__all__ = ["PagedWorker"]


class PagedWorker(Worker):
    """Runs groups as ``Worker`` does, and writes to a page what it is doing.

    Args:
        page: the memory shared with the front.
        skipped: called on the thread when it comes to a group that somebody has taken out.

    Attributes:
        unbegun: the groups that were handed over and have not begun, by number. Whoever takes one
            out has it: the thread to run it, or who gives it back. May be used on any thread.

    """

    def __init__(
        self, page: Page, skipped: Callable[[], object], *args: Any, **options: Any
    ) -> None:
        self._page = page
        self._skipped = skipped
        self.unbegun: dict[int | None, Sequence[WorkerJob]] = {}
        self._current: Job | None = None
        self._times = page.times  # written directly: for a stream, with every step
        super().__init__(*args, begin_batch=_begin_batch, **options)

    def _run_group(self, group: Sequence[Job], *, ends: bool = True) -> None:
        first = group[0]
        if ends and isinstance(first, WorkerJob) and self.unbegun.pop(first.group, None) is None:
            self._skipped()
            return
        super()._run_group(group, ends=ends)

    def _run(self, job: Job) -> None:
        if isinstance(job, WorkerJob):
            self._page.begin(job.slot)
            super()._run(job)
            job.let_go()
        else:
            super()._run(job)

    def _run_batch(self, batch: Sequence[Job], now: float) -> float:
        for job in batch:
            if isinstance(job, WorkerJob):
                self._page.begin(job.slot)
        return super()._run_batch(batch, now)

    def rest(self, started: float, now: float) -> None:
        """Note that the thread is idle, all at once."""
        self._current = None
        self._page.rest(now, now - started)

    @property
    def current(self) -> Job | None:
        """The job that the thread is running."""
        return self._current

    @current.setter
    def current(self, job: Job | None) -> None:
        self._current = job
        self._page.current = job.number if type(job) is WorkerJob else 0

    @property
    def since(self) -> float:
        """When it began to run that one, or to be idle."""
        return self._page.since

    @since.setter
    def since(self, at: float) -> None:
        self._times[SINCE] = at

    @property
    def progressed_at(self) -> float:
        """When that one last told that it goes on."""
        return self._page.progressed_at

    @progressed_at.setter
    def progressed_at(self, at: float) -> None:
        self._times[PROGRESSED_AT] = at

    @property
    def busy(self) -> float:
        """The seconds spent on the groups and steps that have ended."""
        return self._page.busy

    @busy.setter
    def busy(self, seconds: float) -> None:
        self._times[BUSY] = seconds

    @property
    def busy_since(self) -> float | None:
        """When the one began that has not ended."""
        return self._page.busy_since

    @busy_since.setter
    def busy_since(self, at: float | None) -> None:
        self._times[BUSY_SINCE] = nan if at is None else at


def _begin_batch(jobs: Sequence[Job]) -> None:
    """Go on with the trace of a batch, in the context that it is about to run in."""
    first = jobs[0]
    if isinstance(first, WorkerJob):  # no warm-up
        attach(first.batch_trace)
