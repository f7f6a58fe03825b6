"""The GPU thread: the only thread that touches a model."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

from potassium.engine.job import Failure, Job
from potassium.errors import DeadlineExceeded, WorkerFailed

__all__ = ["Worker"]

# Jobs that are done are reported at the latest after this time, even in the middle of a group,
# so that a job that turns out slow does not hold back the answers of those before it.
REPORT_INTERVAL = 0.001  # seconds


class Worker:
    """Runs groups of jobs one by one, in the order in which they were handed over.

    ``run`` is the thread's whole life. ``hand_over`` and ``stop`` may be called from any
    thread. ``report`` is called on the GPU thread, with the jobs that have their outcome and
    with whether their group ends there: once a group, more often where a group turns out slow.
    """

    def __init__(
        self,
        report: Callable[[Sequence[Job], bool], None],
        *,
        is_fatal: Callable[[BaseException], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the thread's inbox up; ``run`` has yet to be called on the thread.

        ``is_fatal`` tells errors after which the thread can run nothing any more.
        """
        self.started = False
        self.fatal: BaseException | None = None  # the error after which it runs nothing
        self.current: Job | None = None  # the job that the thread is at
        self.since = clock()  # when it began with that one, or with having nothing to do
        self._is_fatal = is_fatal
        self.busy = 0.0  # seconds spent running groups that have ended
        self._report = report
        self._clock = clock
        self._inbox: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()

    def hand_over(self, group: Sequence[Job]) -> None:
        """Put ``group`` into the inbox."""
        self._inbox.put(group)

    def stop(self) -> None:
        """Let ``run`` return once everything handed over before has been run."""
        self._inbox.put(None)

    def run(self) -> None:
        """Run what comes into the inbox until ``stop``; blocks the thread it is called on."""
        self.started = True
        thread = threading.current_thread()
        name, thread.name = thread.name, "potassium-gpu"
        try:
            while (group := self._inbox.get()) is not None:
                self._run_group(group)
                # A blocked thread holds on to its locals: here, to the last results' memory.
                del group
        finally:
            thread.name = name

    def _run_group(self, group: Sequence[Job]) -> None:
        clock = self._clock
        started = reported = now = clock()
        first = 0
        for index, job in enumerate(group):
            if self.fatal is not None:
                job.outcome = Failure(WorkerFailed())
            elif not job.is_unwanted(now):
                self.since = now  # before current: who sees a job must not see an older time
                self.current = job
                self._run(job)
                ended = clock()
                job.operation.service_time.add(ended - now)
                now = ended
                if now - reported > REPORT_INTERVAL and index + 1 < len(group):
                    self._report(group[first : index + 1], False)  # noqa: FBT003
                    first, reported = index + 1, now
            elif job.called_off is None:
                job.outcome = Failure(DeadlineExceeded())
        self.current = None
        self.since = now
        self.busy += now - started
        self._report(group[first:] if first else group, True)  # noqa: FBT003

    def _run(self, job: Job) -> None:
        """Run one job and keep what comes of it, whatever that is."""
        try:
            job.outcome = job.operation.run(job.argument)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the thread either
            # Without this frame, which holds the job and so would make a cycle of them.
            traceback = error.__traceback__
            job.outcome = Failure(error.with_traceback(traceback and traceback.tb_next))
            if self._is_fatal(error):
                self.fatal = error
            del traceback
        finally:
            job.argument = None  # the request refers to the job, and not the other way any more
