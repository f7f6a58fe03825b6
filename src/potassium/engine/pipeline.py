"""The path of a job: the pool, the queue, the GPU thread or the loop, and back."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from potassium.config import Limits
from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.loop_worker import LoopWorker
from potassium.engine.model_runner import ModelRunner, Surroundings
from potassium.engine.observer import Observer
from potassium.engine.operation import UNBOUND, Operation, Unfinished
from potassium.engine.queue import Capacity, JobQueue
from potassium.engine.rehearsal import rehearse
from potassium.engine.side_pool import SidePool
from potassium.engine.stream import Stream
from potassium.engine.threads import Threads

__all__ = ["Pipeline", "receive"]

POOL_THREADS = 4


class Pipeline:
    """The stages that jobs go through, and the transitions between them.

    Belongs to one event loop, except for what its threads do.

    Args:
        threads: hosts those of the pool.
        new_runner: makes what runs the model.
        fail: called on the loop, with why, if the model can be run no more.
        observer: is notified of what happens to the jobs, once it is let; None to notify nobody.

    Attributes:
        jobs: the jobs for the model.
        lanes: what runs the jobs of each operation that belongs to the loop.
        runner: what runs the model.
        pool: what the threads of the side pool run.
        uses_thread: whether any operation uses the model.

    """

    def __init__(  # noqa: PLR0913 - what it needs from the engine
        self,
        operations: Iterable[Operation],
        limits: Limits,
        threads: Threads,
        new_runner: Callable[[Surroundings], ModelRunner],
        *,
        fail: Callable[[str], object],
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        operations = list(operations)
        streams = Bridge(threads.tell_loop, self._hear)
        self._observer: Observer | None = None
        self._later = observer
        self._threads = threads
        self.pool = SidePool(
            POOL_THREADS,
            threads.tell_loop,
            prepared=self._put_in_line,
            finished=self._settle_finished,
            clock=clock,
        )
        self.jobs = self._new_queue(limits, clock)
        settle = Job.settle if observer is None else self._settle_in_lane
        self.lanes: dict[Operation, LoopWorker] = {}
        for operation in operations:
            operation.forget_streams()
            if operation.concurrency is not None:
                queue = self._new_queue(limits, clock)
                self.lanes[operation] = LoopWorker(operation, queue, settle, streams, clock=clock)
        self.uses_thread = len(self.lanes) < len(operations) or not operations
        self.runner = new_runner(
            Surroundings(
                operations=[one for one in operations if one not in self.lanes],
                jobs=self.jobs,
                pool=self.pool,
                threads=threads,
                limits=limits,
                settle=self._settle,
                prepared=self._put_in_line,
                hear=self._hear,
                fail=fail,
                begin_batch=_ignore if observer is None else self._begin_batch,
                clock=clock,
            )
        )
        self._needs_pool = any(one.is_prepared or one.finish for one in operations)
        self._clock = clock

    def open(self) -> None:
        """Notify the observer from now on: calls begin."""
        self._observer = self._later

    async def rehearse(self, operation: Operation, calls: Sequence[tuple[Any, Any]]) -> list[Job]:
        """Run ``operation`` as for calls, as one batch if it is batched and they fit into one.

        ``calls`` are arguments and origins. They count nowhere, and have no deadline. Return the
        jobs, which have their outcomes.

        Raises:
            BaseException: whatever one of them has failed with.

        """
        queue = self.queue_of(operation)

        def begin(jobs: Sequence[Job]) -> None:
            for job in jobs:
                queue.put_admitted(job)
            self.runner.wake()

        open_stream = self.runner.open_stream if operation.concurrency is None else None
        return await rehearse(operation, calls, open_stream, self.pool, begin)

    def begin(self) -> list[asyncio.Task[None]]:
        """Start what runs jobs beside the model; return the tasks, one for each place in a lane."""
        self._begin_pool()
        return [
            asyncio.create_task(lane.run(), name=f"potassium-{operation.name}-{place}")
            for operation, lane in self.lanes.items()
            for place in range(operation.concurrency or 1)
        ]

    def _begin_pool(self) -> None:
        """Start the threads of the pool, if something is known to need them."""
        if self._needs_pool:
            for number in range(self.pool.threads):
                self._threads.start(f"potassium-pool-{number}", self.pool)

    def let_in(self, job: Job) -> None:
        """Queue a new job, or pass it to the pool first if it has to be prepared.

        Raises:
            asyncio.QueueFull: there is no place for it; never raised for a background job.

        """
        operation = job.operation
        lane = self.lanes.get(operation)
        jobs = self.jobs if lane is None else lane.jobs
        if not jobs.capacity.has_place_for(job):
            self.runner.catch_up()  # if many arrive at once, the first may go to the thread
            if not jobs.capacity.has_place_for(job):
                raise asyncio.QueueFull
        if operation.is_prepared or job.argument is UNBOUND:
            jobs.reserve(job)
            job.in_pool = True
            self.runner.prepare(job)
            return
        jobs.put_admitted(job)
        if lane is None:
            self.runner.wake()

    def discard(self, job: Job) -> None:
        """Free the place of a job that was called off."""
        if job.in_pool:
            return  # its place becomes free when the pool gets to it
        if job.is_queued:
            job.drop_input()
        self.queue_of(job.operation).discard(job)

    def queue_of(self, operation: Operation) -> JobQueue:
        """Return the queue that jobs of ``operation`` wait in."""
        lane = self.lanes.get(operation)
        return self.jobs if lane is None else lane.jobs

    def is_full(self) -> bool:
        """Return whether another server should get the next call.

        A lane that is full refuses its own calls only. What counts is the queue of the GPU thread
        or, if no operation uses that, the queues of all lanes.
        """
        if self.uses_thread:
            return self.jobs.capacity.free <= 0
        return all(lane.jobs.capacity.free <= 0 for lane in self.lanes.values())

    def stop(self) -> None:
        """End the threads once they have run what they were given."""
        self.runner.stop()
        self.pool.stop()

    def _put_in_line(self, job: Job) -> None:
        """Queue a prepared job for the GPU thread, unless it has failed or was called off."""
        job.in_pool = False
        if job.called_off is not None or type(job.outcome) is Failure:
            self.jobs.capacity.leave(job)
            job.settle()
        else:
            self.jobs.put_admitted(job)
            self.runner.wake()

    def _settle(self, done: Sequence[Job]) -> None:
        """Settle jobs that have run, or finish their results first."""
        if self._observer is not None:
            self._observer.ran(done)
        for job in done:
            kind = type(job.outcome)
            if kind is Failure or (job.operation.finish is None and kind is not Unfinished):
                job.settle()
            else:
                if not self._needs_pool:
                    self._needs_pool = True
                    self._begin_pool()
                self.jobs.capacity.enter(job)
                job.in_pool = True
                self.pool.finish(job)

    def _settle_in_lane(self, job: Job) -> None:
        if self._observer is not None:
            self._observer.ran((job,))
        job.settle()

    def _settle_finished(self, job: Job) -> None:
        job.in_pool = False
        self.jobs.capacity.leave(job)
        job.settle()

    def _begin_batch(self, jobs: Sequence[Job]) -> None:
        if self._observer is not None:
            self._observer.begin_batch(jobs)

    def _new_queue(self, limits: Limits, clock: Callable[[], float]) -> JobQueue:
        return JobQueue(Capacity(limits.queue_size), priorities=limits.priorities, clock=clock)

    def _hear(self, stream: Stream[Job]) -> None:
        """Handle a stream that has something for its reader."""
        if stream.began_at is None and stream.was_begun:
            stream.began_at = self._clock()
            if self._observer is not None:
                self._observer.streams(stream.job)
        self.report(stream)
        receive(stream)

    def report(self, stream: Stream[Job]) -> None:
        """Notify the observer, once, that a stream's call has run, if it has."""
        if self._observer is not None and stream.has_ended and not stream.is_reported:
            stream.is_reported = True
            self._observer.ran((stream.job,))


def receive(stream: Stream[Job]) -> None:
    """Give the job of a stream what its reader is to have; called on the loop."""
    job = stream.job
    if not job.future.done():
        never_began = stream.has_ended and not stream.was_begun
        if never_began and stream.failure is not None:
            stream.is_over = True
            job.future.set_result(stream.failure)
        else:
            job.future.set_result(stream)
    stream.wake()
    if stream.overrun is not None:
        job.call_off(stream.overrun)


def _ignore(_: Sequence[Job]) -> None:
    """Tell nobody about a batch."""
