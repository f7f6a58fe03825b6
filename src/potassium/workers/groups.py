"""The groups of calls that a worker has: prepared, run in order, or given back."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context

from potassium.engine import Failure, Job, Operation
from potassium.engine.side_pool import SidePool
from potassium.workers.arrivals import NOBODY, Arrivals, WorkerJob
from potassium.workers.frames import FromWorker, frame
from potassium.workers.link import WorkerLink
from potassium.workers.notes import COST, NUMBER
from potassium.workers.paged_worker import PagedWorker

__all__ = ["Groups"]

NO_GROUP = 0  # stands for what is run between groups


class Groups:
    """Takes groups to the GPU thread, by way of the pool if something has to be prepared.

    ``take``, ``prepare``, ``give_back`` and ``run`` are called on the thread that reads,
    ``prepared`` on the loop, ``ended`` and ``skipped`` on the GPU thread.

    Args:
        worker: the GPU thread.
        pool: prepares calls.
        arrivals: has the calls.
        link: where the front is told.
        done: returns the frame that tells the outcome of a call, and forgets the call.

    """

    def __init__(
        self,
        worker: PagedWorker,
        pool: SidePool,
        arrivals: Arrivals,
        link: WorkerLink,
        done: Callable[[WorkerJob], list[bytes]],
    ) -> None:
        self._worker = worker
        self._pool = pool
        self._arrivals = arrivals
        self._link = link
        self._done = done
        self._gathering: dict[int, list[WorkerJob]] = {}  # groups that are being prepared
        self._recalled: set[int] = set()  # those of them that the front wants back
        self._handed_over: deque[int] = deque()  # those that the GPU thread has
        self._order = threading.Lock()  # of these, and held where a group goes on from there

    def take(self, payload: bytes) -> None:
        """Run a group, once everything in it is prepared."""
        group, jobs = self._arrivals.group(payload)
        unready = [job for job in jobs if job.is_unprepared]
        if not unready:
            self._begin(group, jobs)
            return
        self._gathering[group] = jobs
        for job in unready:
            self._pool.prepare(job)

    def prepare(self, payload: bytes) -> None:
        """Prepare one call, which is not to be run yet."""
        _, (job,) = self._arrivals.group(payload)
        job.group = None
        if job.is_unprepared:
            self._pool.prepare(job)
        else:
            self._tell_cost(job)

    def prepared(self, job: Job) -> None:
        """Go on with a call that was prepared, or has failed to be."""
        assert isinstance(job, WorkerJob)  # noqa: S101 - the pool has no others
        job.is_unprepared = job.in_pool = False
        if job.group is None:
            self._tell_cost(job)
            return
        jobs = self._gathering[job.group]
        if not any(one.is_unprepared for one in jobs):
            self._begin(job.group, jobs)

    def give_back(self, group: int) -> None:
        """Give a group back, unless it has begun; once it is prepared, if that is under way."""
        with self._order:
            jobs = self._worker.unbegun.pop(group, None)
            if jobs is None and group in self._gathering:
                self._recalled.add(group)
        if jobs is not None:
            self._link.send(self._returned(group, jobs))

    def run(self, operation: Operation) -> None:
        """Run something on the GPU thread that is no call, behind what that has already."""
        with self._order:
            self._handed_over.append(NO_GROUP)
            self._worker.hand_over([Job(operation, None, NOBODY, context=Context())])

    def ended(self) -> list[bytes]:
        """Return the frame that tells that the first group has ended."""
        group = self._handed_over.popleft()
        return [] if group == NO_GROUP else frame(FromWorker.GROUP_DONE, NUMBER.pack(group))

    def skipped(self) -> None:
        """Note that it was the turn of a group that was given back.

        Whoever gives it back tells the front, perhaps only later: that it has ended would be wrong.
        """
        self._handed_over.popleft()

    def _tell_cost(self, job: WorkerJob) -> None:
        if type(job.outcome) is Failure or job.called_off is not None:
            self._link.send(self._done(job))
        else:
            self._link.send(frame(FromWorker.PREPARED, COST.pack(job.number, job.cost)))

    def _begin(self, group: int, jobs: Sequence[WorkerJob]) -> None:
        """Hand a group to the GPU thread, without those that have failed already."""
        ready: list[WorkerJob] = []
        buffers: list[bytes] = []
        for job in jobs:
            if type(job.outcome) is Failure:
                buffers += self._done(job)
            else:
                ready.append(job)
        if buffers:
            self._link.send(buffers)
        with self._order:
            self._gathering.pop(group, None)
            is_recalled = group in self._recalled
            self._recalled.discard(group)
            if ready and not is_recalled:
                self._handed_over.append(group)
                self._worker.unbegun[group] = ready
                self._worker.hand_over(ready)
        if not ready:
            self._link.send(frame(FromWorker.GROUP_DONE, NUMBER.pack(group)))
        elif is_recalled:
            self._link.send(self._returned(group, ready))

    def _returned(self, group: int, jobs: Sequence[WorkerJob]) -> list[bytes]:
        """Return the frame that gives a group back, and forget its calls."""
        for job in jobs:
            self._arrivals.forget(job)
        return frame(FromWorker.RETURNED, NUMBER.pack(group))
