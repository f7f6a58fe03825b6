"""The engine: admits jobs, runs them on the GPU thread or on the loop, and settles them."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from potassium.config import Limits
from potassium.engine.bridge import Bridge
from potassium.engine.dispatcher import Dispatcher
from potassium.engine.job import Failure, Job, Operation, Priority
from potassium.engine.lifecycle import Lifecycle, State
from potassium.engine.loop_lane import LoopLane
from potassium.engine.pool import Pool
from potassium.engine.queue import Capacity, JobQueue
from potassium.engine.stream import Stream
from potassium.engine.threads import Threads
from potassium.engine.worker import Worker
from potassium.errors import (
    ClientLeft,
    DeadlineExceeded,
    Draining,
    PotassiumError,
    QueueFull,
    Starting,
    Unavailable,
    WorkerFailed,
)

__all__ = ["Counts", "Engine"]

LONGEST_RETRY_AFTER = 60  # seconds
POOL_THREADS = 4
LAST_MOMENTS = 0.5  # seconds that a thread has to end in when there is no time left

logger = logging.getLogger("potassium")


@dataclass(slots=True)
class Counts:
    """How many jobs went which way since the start."""

    admitted: int = 0
    refused: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class Engine:
    """One GPU thread, the queue in front of it, and a lane on the loop per async operation.

    All of it belongs to one event loop. The engine owns its tasks: they
    are awaited by ``stop``.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        *,
        limits: Limits,
        lifecycle: Lifecycle,
        is_fatal: Callable[[BaseException], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to run ``operations`` within ``limits``.

        ``is_fatal`` tells errors of an operation after which the GPU thread is of no use.
        """
        self.lifecycle = lifecycle
        self.capacity = Capacity(limits.queue_size)
        self.counts = Counts()
        self.started_at: float | None = None  # seconds since the epoch
        self._operations = list(operations)
        streams = Bridge(self._tell_loop, _receive)
        self.worker = Worker(self._report_from_thread, streams, is_fatal=is_fatal, clock=clock)
        self._jobs = self._new_queue(limits, clock)
        self._dispatcher = Dispatcher(self._jobs, self.capacity, self.worker, clock=clock)
        self._pool = Pool(
            POOL_THREADS if any(one.is_prepared or one.finish for one in self._operations) else 0,
            self._tell_loop,
            prepared=self._put_in_line,
            finished=self._settle_finished,
            clock=clock,
        )
        self._lanes = {
            operation: LoopLane(
                operation, self._new_queue(limits, clock), Job.settle, streams, clock=clock
            )
            for operation in self._operations
            if operation.concurrency is not None
        }
        for operation in self._operations:
            operation.open_streams = 0
            if operation.concurrency is None:
                operation.open_stream = self.worker.open_stream
        self._queues = {operation: lane.jobs for operation, lane in self._lanes.items()}
        self._threads = Threads(self._tell_loop)
        self._tasks: list[asyncio.Task[None]] = []
        self._open: set[Job] = set()  # admitted, and their callers still wait
        self._all_closed = asyncio.Event()
        self._limits = limits
        self._clock = clock
        self._grace_timer: asyncio.TimerHandle | None = None
        self._hang_timer: asyncio.TimerHandle | None = None
        self.cut_off = 0  # calls that the end of the grace period took from their callers

    async def start(self, init: Operation) -> None:
        """Start the GPU thread and run ``init`` on it; admit jobs once it is done.

        Cancellation stops the thread again as soon as ``init`` returns; the engine is STOPPED
        then.

        Raises:
            BaseException: whatever ``init`` raised; the engine is FAILED then.

        """
        self._loop = asyncio.get_running_loop()
        thread = self._threads.start("potassium-gpu", self.worker.run, self.worker.stop)
        job = Job(init, None, self._loop.create_future())
        try:
            self._dispatcher.hand_over([job])
            await asyncio.wait({job.future, thread}, return_when=asyncio.FIRST_COMPLETED)
            if not job.future.done():
                thread.result()  # the thread could not be started
            outcome = await job.future
        except asyncio.CancelledError:
            await self._wind_up(State.STOPPED)
            raise
        if isinstance(outcome, Failure):
            await self._wind_up(State.FAILED)
            raise outcome.error
        for number in range(self._pool.threads):
            self._threads.start(f"potassium-pool-{number}", self._pool.run, self._pool.stop)
        for operation, lane in self._lanes.items():
            for place in range(operation.concurrency or 1):
                name = f"potassium-{operation.name}-{place}"
                self._tasks.append(asyncio.create_task(lane.run(), name=name))
        self.started_at = time.time()
        self.lifecycle.advance(State.READY)
        if self._limits.hang_timeout is not None:
            self._look_for_hang(self._limits.hang_timeout)

    async def call(self, operation: Operation, argument: Any, **options: Any) -> Any:
        """Admit a job and return its result; see ``admit`` and ``outcome``."""
        return await self.outcome(self.admit(operation, argument, **options))

    def admit(
        self,
        operation: Operation,
        argument: Any,
        *,
        deadline: float | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> Job:
        """Put a new job into the queue, or refuse it at once.

        After ``deadline``, in monotonic seconds, the job is called off with
        ``DeadlineExceeded``.

        Raises:
            DeadlineExceeded: the deadline has passed already.
            QueueFull: as many jobs wait as may.
            Unavailable: the engine is not READY.

        """
        if self.lifecycle.state is not State.READY:
            self.counts.refused += 1
            raise _refusal(self.lifecycle.state)
        job = Job(operation, argument, self._loop.create_future(), deadline, priority)
        if deadline is not None:
            self._set_timer(job, deadline)
        try:
            self._let_in(job)
        except asyncio.QueueFull:
            self.counts.refused += 1
            if job.timer is not None:
                job.timer.cancel()
            detail = f"{self.capacity.limit} calls are waiting already."
            raise QueueFull(detail, self._retry_after(operation)) from None
        self.counts.admitted += 1
        self._open.add(job)
        if operation.batching is not None:
            operation.batching.callers.came(self._clock())
        return job

    async def outcome(self, job: Job) -> Any:
        """Wait for an admitted job and return its result, or its ``Stream``.

        Who gets a stream has to ``release`` it. Cancellation calls the job off: it leaves the
        queue, or, where it runs already on the GPU thread, is left to end there, and its result
        is dropped.

        Raises:
            PotassiumError: raised by the operation itself, or given to ``call_off``.
            HandlerError: the operation raised anything else, which is the cause.

        """
        try:
            outcome = await job.future
        except asyncio.CancelledError:
            self.counts.cancelled += 1
            self.call_off(job, ClientLeft())
            self._close(job)
            raise
        if type(outcome) is Stream:
            return outcome
        self._close(job)
        if type(outcome) is not Failure:
            self.counts.succeeded += 1
            return outcome
        self._count_failure(job)
        raise outcome.to_raise()

    def abandon(self, job: Job) -> None:
        """Take no interest any more in an admitted job whose outcome nobody has waited for."""
        self.call_off(job, ClientLeft())
        self._count_failure(job)
        self._close(job)

    def release(self, stream: Stream) -> None:
        """Take no more of ``stream``: it has ended, or else its job is called off."""
        job = stream.job
        if not stream.is_over:
            self.call_off(job, ClientLeft())
            stream.is_over = True
        self._close(job)
        if job.called_off is None and stream.failure is None:
            self.counts.succeeded += 1
        else:
            self._count_failure(job)

    def call_off(self, job: Job, error: PotassiumError) -> None:
        """Settle ``job`` with ``error`` and take it out of the queue, if it still waits there.

        An async operation that runs is cancelled; one on the GPU thread is left to end, and one
        that streams to make its step. Does nothing where the job is over.
        """
        if job.is_over and not job.future.cancelled():
            return
        job.call_off(error)
        if job.in_line or job.in_pool:
            job.argument = None
        if not job.in_pool:  # its place is free when the pool has come to it
            self._queues.get(job.operation, self._jobs).discard(job)

    def drain(self) -> None:
        """Admit nothing any more; what was admitted has the grace period to end in.

        What is left then is called off. Does nothing where the engine is not READY.
        """
        if self.lifecycle.state is State.READY:
            self.lifecycle.advance(State.DRAINING)
            self._drain_ends = self._clock() + self._limits.grace_period
            self._grace_timer = self._loop.call_later(self._limits.grace_period, self._end_grace)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a result."""
        return not self._open

    async def stop(self) -> None:
        """Drain, then release the GPU thread.

        A handler that outlasts the grace period is left behind, on a thread that ends when it
        returns. Does nothing where the engine was never READY, or has stopped.
        """
        self.drain()
        if self.lifecycle.state is State.DRAINING:
            self._all_closed.clear()
            if self._open:
                await self._all_closed.wait()
            self._end_tasks()
            left = max(self._drain_ends - self._clock(), LAST_MOMENTS)
            await self._wind_up(State.STOPPED, within=left)
        elif self.lifecycle.state is State.FAILED and self._threads:
            await self._wind_up(State.FAILED, within=LAST_MOMENTS)

    def fail(self, why: str) -> None:
        """Give up: refuse whatever comes, and everybody who waits gets WorkerFailed now."""
        if self.lifecycle.state not in (State.READY, State.DRAINING):
            return
        logger.critical("the server has failed and must be restarted: %s", why)
        self.lifecycle.advance(State.FAILED)
        self._call_off_all(WorkerFailed)
        self._end_tasks()

    async def _wind_up(self, state: State, *, within: float | None = None) -> None:
        """Wait until the threads have run what they were given, and move on to ``state``."""
        for timer in (self._grace_timer, self._hang_timer):
            if timer is not None:
                timer.cancel()
        self.worker.stop()
        self._pool.stop()
        try:
            await self._threads.wait(self._tasks, within)
        finally:
            if self.lifecycle.state is not State.FAILED:
                self.lifecycle.advance(state)

    def _end_tasks(self) -> None:
        self._dispatcher.close()
        for task in self._tasks:
            task.cancel()

    def _end_grace(self) -> None:
        self.cut_off = len(self._open)
        if self._open:
            logger.error("%d calls were not done within the grace period", self.cut_off)
        self._call_off_all(lambda: Draining("The server stopped before the call was done."))

    def _call_off_all(self, error: Callable[[], PotassiumError]) -> None:
        for job in list(self._open):
            self.call_off(job, error())

    def _look_for_hang(self, hang_timeout: float) -> None:
        job, since = self.worker.current, self.worker.since
        if job is not None and job.stream is not None and job.stream.is_waiting:
            job = None  # for its reader, which has a limit of its own
        in_pool = self._pool.oldest
        if job is None and in_pool is not None:
            job, since = in_pool
        if job is not None and self._clock() - since > hang_timeout:
            self.fail(f"{job.operation.name} has not returned for {hang_timeout:g} s")
        else:
            after = hang_timeout / 10
            self._hang_timer = self._loop.call_later(after, self._look_for_hang, hang_timeout)

    def _report_from_thread(self, done: Sequence[Job], ended: bool) -> None:  # noqa: FBT001
        # As of now: of an error yet to come, its own report tells.
        self._tell_loop(self._settle_group, done, ended, self.worker.fatal)

    def _tell_loop(self, callback: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # The loop was closed while a handler ran: nobody is left to be told.
            if not self._loop.is_closed():
                raise

    def _settle_group(
        self,
        done: Sequence[Job],
        ended: bool,  # noqa: FBT001
        fatal: BaseException | None,
    ) -> None:
        for job in done:
            if job.operation.finish is None or type(job.outcome) is Failure:
                job.settle()
            else:
                self.capacity.enter(job)
                job.in_pool = True
                self._pool.finish(job)
        if ended:
            self._dispatcher.group_done()
        else:
            self._dispatcher.wake()  # a stream may have ended
        if fatal is not None:
            self.fail(f"the accelerator is of no use any more: {fatal}")

    def _settle_finished(self, job: Job) -> None:
        job.in_pool = False
        self.capacity.leave(job)
        job.settle()

    def _let_in(self, job: Job) -> None:
        """Put a new job in line, or into the pool first; raise QueueFull where there is no room."""
        operation = job.operation
        if operation.is_prepared:
            self._jobs.reserve(job)
            job.in_pool = True
            self._pool.prepare(job)
            return
        lane = self._queues.get(operation)
        if lane is not None:
            lane.put_nowait(job)
        else:
            self._jobs.put_nowait(job)
            self._dispatcher.wake()

    def _put_in_line(self, job: Job) -> None:
        """Let a job that was prepared wait for the GPU thread."""
        job.in_pool = False
        if job.called_off is not None or type(job.outcome) is Failure:
            self.capacity.leave(job)
            job.settle()
            return
        self._jobs.put_reserved(job)
        self._dispatcher.wake()

    def _new_queue(self, limits: Limits, clock: Callable[[], float]) -> JobQueue:
        return JobQueue(self.capacity, priorities=limits.priorities, clock=clock)

    def _close(self, job: Job) -> None:
        """Note that nobody waits for ``job`` any more."""
        if job.timer is not None:
            job.timer.cancel()
        if job.operation.batching is not None:
            job.operation.batching.callers.went(self._clock())
        self._open.discard(job)
        if not self._open:
            self._all_closed.set()

    def _count_failure(self, job: Job) -> None:
        if job.called_off is None:
            self.counts.failed += 1
        else:
            self.counts.cancelled += 1

    def _set_timer(self, job: Job, deadline: float) -> None:
        left = deadline - self._clock()
        if left <= 0:
            self.counts.refused += 1
            raise DeadlineExceeded
        job.timer = self._loop.call_later(left, self._end_time, job)

    def _end_time(self, job: Job) -> None:
        if job.stream is None or not job.stream.has_ended:  # what is through may yet be read
            self.call_off(job, DeadlineExceeded())

    def _retry_after(self, operation: Operation) -> int:
        """Return the seconds until a place is likely to be free: 1 to 60."""
        seconds = (operation.service_time.mean or 0.0) * self.capacity.waiting
        return min(max(ceil(seconds / (operation.concurrency or 1)), 1), LONGEST_RETRY_AFTER)


def _receive(stream: Stream) -> None:
    """Take note, on the loop, of a stream that has something for its reader."""
    job = stream.job
    if not job.future.done():
        never_began = stream.has_ended and not stream.was_begun
        if never_began and stream.failure is not None:
            stream.is_over = True
            job.future.set_result(stream.failure)
        else:
            job.future.set_result(stream)
    stream.wake()


def _refusal(state: State) -> Unavailable:
    if state is State.STARTING:
        return Starting("The model is still loading.", retry_after=1)
    if state is State.FAILED:
        return WorkerFailed()
    return Draining("The server is stopping.", retry_after=1)
