"""Threads for work that need not hold the GPU: preparing arguments and finishing results."""

import queue
import threading
import time
from collections.abc import Callable

from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.operation import Unfinished

__all__ = ["SidePool"]


class SidePool:
    """Runs the steps of jobs before and after the GPU thread, several at a time.

    ``prepare``, ``finish`` and ``stop`` may be called from any thread. If a step raises, the job's
    outcome is a ``Failure``.

    Args:
        threads: how many threads the pool has; ``run`` must be called on each of them.
        prepared: called on the loop with each job whose ``prepare`` step has ended.
        finished: called on the loop with each job whose ``finish`` step has ended.

    """

    def __init__(
        self,
        threads: int,
        tell_loop: Callable[[Callable[[], object]], None],
        *,
        prepared: Callable[[Job], object],
        finished: Callable[[Job], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.threads = threads
        self._tell_loop = tell_loop
        self._prepared = Bridge(tell_loop, prepared)
        self._finished = Bridge(tell_loop, finished)
        self._clock = clock
        self._at: dict[int, tuple[Job, float]] = {}  # each thread's current job, and since when
        self._inbox: queue.SimpleQueue[tuple[Callable[[Job, float], None], Job] | None] = (
            queue.SimpleQueue()
        )

    @property
    def oldest(self) -> tuple[Job, float] | None:
        """The job that a thread has been working on for the longest, and since when."""
        return min(tuple(self._at.values()), key=lambda at: at[1], default=None)

    def prepare(self, job: Job) -> None:
        """Make the argument that the job's operation runs with, and compute its cost."""
        self._inbox.put((self._prepare, job))

    def rehearse(self, job: Job, done: Callable[[], object]) -> None:
        """Prepare a job that is not to be queued then; call ``done`` on the loop instead."""

        def step(job: Job, began: float) -> None:
            self._make_argument(job, began)
            self._tell_loop(done)

        self._inbox.put((step, job))

    def finish(self, job: Job) -> None:
        """Make the job's outcome from what its operation returned."""
        self._inbox.put((self._finish, job))

    def stop(self) -> None:
        """Let ``run`` return on each thread once everything requested before is done."""
        for _ in range(self.threads):
            self._inbox.put(None)

    def run(self) -> None:
        """Do the steps in the inbox until ``stop``; blocks the thread that it is called on."""
        thread = threading.current_thread()
        name, thread.name = thread.name, "potassium-pool"
        try:
            while (item := self._inbox.get()) is not None:
                step, job = item
                began = self._clock()
                self._at[threading.get_ident()] = job, began
                step(job, began)
                del self._at[threading.get_ident()]
                del item, step, job  # a blocked thread holds on to its locals
        finally:
            thread.name = name

    def _prepare(self, job: Job, began: float) -> None:
        self._make_argument(job, began)
        self._prepared.send(job)

    def _make_argument(self, job: Job, began: float) -> None:
        operation = job.operation
        if job.called_off is None:
            try:
                if operation.prepare is not None:
                    job.argument = job.context.run(operation.prepare, job)
                if operation.cost is not None:
                    job.cost = job.context.run(operation.cost, job)
            except BaseException as error:  # noqa: BLE001 - kept as the outcome, whatever it is
                job.outcome = Failure(error)
        job.preparation = began, self._clock()

    def _finish(self, job: Job, began: float) -> None:
        outcome, finish = job.outcome, job.operation.finish
        if job.called_off is None:
            try:
                if type(outcome) is Unfinished:
                    job.outcome = job.context.run(outcome.finish)
                elif finish is not None:
                    job.outcome = job.context.run(finish, job, outcome)
            except BaseException as error:  # noqa: BLE001 - as above
                job.outcome = Failure(error)
        job.finishing = began, self._clock()
        self._finished.send(job)
