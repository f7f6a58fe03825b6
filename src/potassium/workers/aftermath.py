"""Settles or requeues the calls of a worker that has died."""

from collections.abc import Callable, Iterable

from potassium.engine import Failure, Job
from potassium.engine.model_runner import Surroundings
from potassium.errors import PotassiumError, WorkerDied
from potassium.workers.culprits import Culprits
from potassium.workers.given import Remains

__all__ = ["Aftermath"]

MOST_DEATHS = 3  # of workers that prepared the same call


class Aftermath:
    """Fails the calls that a dead worker had begun, and saves the others for another worker.

    A call that had begun is never run again: nobody knows what it has done. What had not begun goes
    back into the queue, at its old rank. What was being prepared is prepared elsewhere, unless that
    has happened too often.

    Args:
        around: what the workers work with.
        culprits: knows the calls that kill workers.
        fail: ends a call with an error.
        prepare: prepares a call on another worker.
        unbegun: returns those that workers have, or wait for one, and have not begun.

    """

    def __init__(
        self,
        around: Surroundings,
        culprits: Culprits,
        *,
        fail: Callable[[Job, PotassiumError], object],
        prepare: Callable[[Job], object],
        unbegun: Callable[[], Iterable[Job]],
    ) -> None:
        self._around = around
        self._culprits = culprits
        self._fail = fail
        self._prepare = prepare
        self._unbegun = unbegun

    def settle(self, remains: Remains) -> bool:
        """Settle what a worker has left behind; return whether its calls explain its death."""
        around = self._around
        explained = self._culprits.died([*remains.begun, *remains.unprepared])
        in_background = sum(job.is_background for job in remains.begun)
        for job in remains.begun:
            self._fail(job, WorkerDied(was_alone=in_background <= 1))
        self._refuse(remains.not_begun)
        for job in remains.not_begun:
            if job.called_off is not None:
                around.jobs.capacity.leave(job)
            elif not job.is_queued:
                around.jobs.put_admitted(job)
        for job in remains.unprepared:
            job.deaths += 1
            if job.deaths < MOST_DEATHS:
                self._refuse([job])
                self._prepare(job)
            else:
                job.outcome = Failure(WorkerDied())
                around.prepared(job)
        if explained:
            queues = around.jobs.by_operation
            self._refuse([job for queue in queues for job in queue])
            self._refuse(list(self._unbegun()))
        return explained

    def _refuse(self, jobs: Iterable[Job]) -> None:
        """Call off those that are refused by now, as if their callers had left."""
        for job in jobs:
            if job.called_off is not None or (error := self._culprits.refusal(job)) is None:
                continue
            if not job.in_pool:  # otherwise, its place becomes free once it is prepared
                self._around.jobs.discard(job)
            job.call_off(error)
