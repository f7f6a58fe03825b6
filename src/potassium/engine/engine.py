"""The engine: admits jobs, runs them on the GPU thread or on the loop, and settles them."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import anyio
import anyio.to_thread

from potassium.config import Limits
from potassium.engine.dispatcher import Dispatcher
from potassium.engine.job import Failure, Job, Operation, Priority
from potassium.engine.lifecycle import Lifecycle, State
from potassium.engine.loop_lane import LoopLane
from potassium.engine.queue import Capacity, JobQueue, PriorityJobQueue
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
        self.worker = Worker(self._report_from_thread, is_fatal=is_fatal, clock=clock)
        queue = PriorityJobQueue if limits.priorities else JobQueue
        self._jobs = queue(self.capacity)
        self._dispatcher = Dispatcher(self._jobs, self.capacity, self.worker)
        self._lanes = {
            operation: LoopLane(operation, queue(self.capacity), Job.settle, clock=clock)
            for operation in operations
            if operation.concurrency is not None
        }
        self._queues = {operation: lane.jobs for operation, lane in self._lanes.items()}
        self._tasks: list[asyncio.Task[None]] = []
        self._open: set[Job] = set()  # admitted, and their callers still wait
        self._all_closed = asyncio.Event()
        self._limits = limits
        self._clock = clock
        self._grace_timer: asyncio.TimerHandle | None = None
        self._hang_timer: asyncio.TimerHandle | None = None
        self._left_behind = False  # the thread is in a handler that does not come back
        self.cut_off = 0  # calls that the end of the grace period took from their callers

    async def start(self, init: Operation) -> None:
        """Start the GPU thread and run ``init`` on it; admit jobs once it is done.

        Cancellation stops the thread again as soon as ``init`` returns; the engine is STOPPED
        then.

        Raises:
            BaseException: whatever ``init`` raised; the engine is FAILED then.

        """
        self._loop = asyncio.get_running_loop()
        self._thread = asyncio.create_task(self._host_thread(), name="potassium-gpu-thread")
        job = Job(init, None, self._loop.create_future())
        try:
            self._dispatcher.hand_over([job])
            await asyncio.wait({job.future, self._thread}, return_when=asyncio.FIRST_COMPLETED)
            if not job.future.done():
                self._thread.result()  # the thread could not be started
            outcome = await job.future
        except asyncio.CancelledError:
            await self._wind_up(State.STOPPED)
            raise
        if isinstance(outcome, Failure):
            await self._wind_up(State.FAILED)
            raise outcome.error
        self._tasks = [asyncio.create_task(self._dispatcher.run(), name="potassium-dispatcher")]
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
            self._queues.get(operation, self._jobs).put_nowait(job)
        except asyncio.QueueFull:
            self.counts.refused += 1
            if job.timer is not None:
                job.timer.cancel()
            detail = f"{self.capacity.limit} calls are waiting already."
            raise QueueFull(detail, self._retry_after(operation)) from None
        self.counts.admitted += 1
        self._open.add(job)
        return job

    async def outcome(self, job: Job) -> Any:
        """Wait for an admitted job and return its result.

        Cancellation calls the job off: it leaves the queue, or, where it runs already on the
        GPU thread, is left to end there, and its result is dropped.

        Raises:
            PotassiumError: raised by the operation itself, or given to ``call_off``.
            HandlerError: the operation raised anything else, which is the cause.

        """
        try:
            outcome = await job.future
        except asyncio.CancelledError:
            self.counts.cancelled += 1
            self.call_off(job, ClientLeft())
            raise
        finally:
            if job.timer is not None:
                job.timer.cancel()
            self._open.discard(job)
            if not self._open:
                self._all_closed.set()
        if type(outcome) is not Failure:
            self.counts.succeeded += 1
            return outcome
        if job.called_off is None:
            self.counts.failed += 1
        else:
            self.counts.cancelled += 1
        raise outcome.to_raise()

    def call_off(self, job: Job, error: PotassiumError) -> None:
        """Settle ``job`` with ``error`` and take it out of the queue, if it still waits there.

        An async operation that runs is cancelled; one on the GPU thread is left to end. Does
        nothing where the job has its outcome.
        """
        if job.future.done() and not job.future.cancelled():
            return
        is_first = job.called_off is None
        job.call_off(error)
        if self._queues.get(job.operation, self._jobs).discard(job):
            job.argument = None
        elif is_first:
            self._dispatcher.give_up(job)

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
            for task in self._tasks:
                task.cancel()
            left = max(self._drain_ends - self._clock(), LAST_MOMENTS)
            await self._wind_up(State.STOPPED, within=left)
        elif self.lifecycle.state is State.FAILED and self._tasks:
            await self._wind_up(State.FAILED, within=LAST_MOMENTS)

    def fail(self, why: str) -> None:
        """Give up: refuse whatever comes, and everybody who waits gets WorkerFailed now."""
        if self.lifecycle.state not in (State.READY, State.DRAINING):
            return
        logger.critical("the server has failed and must be restarted: %s", why)
        self.lifecycle.advance(State.FAILED)
        self._call_off_all(WorkerFailed)
        for task in self._tasks:
            task.cancel()

    async def _host_thread(self) -> None:
        over = asyncio.Event()

        def live() -> None:
            try:
                self.worker.run()
            finally:
                self._tell_loop(over.set)

        try:
            await anyio.to_thread.run_sync(live, limiter=anyio.CapacityLimiter(1))
        except asyncio.CancelledError:
            # The event loop is being torn down and cancels whatever it finds; the thread is
            # still there, and ends when it has run what it was given.
            self.worker.stop()
            if self.worker.started and not self._left_behind:
                await over.wait()
            raise

    async def _wind_up(self, state: State, *, within: float | None = None) -> None:
        """Wait until the thread has run what it was given, and move on to ``state``."""
        for timer in (self._grace_timer, self._hang_timer):
            if timer is not None:
                timer.cancel()
        self.worker.stop()
        try:
            await asyncio.wait({self._thread, *self._tasks}, timeout=within)
            if not self._thread.done():
                self._left_behind = True
                self._thread.cancel()
        finally:
            if self.lifecycle.state is not State.FAILED:
                self.lifecycle.advance(state)

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
        if job is not None and self._clock() - since > hang_timeout:
            self.fail(f"{job.operation.name} has not returned for {hang_timeout:g} s")
        else:
            after = hang_timeout / 10
            self._hang_timer = self._loop.call_later(after, self._look_for_hang, hang_timeout)

    def _report_from_thread(self, done: Sequence[Job], ended: bool) -> None:  # noqa: FBT001
        self._tell_loop(self._settle_group, done, ended)

    def _tell_loop(self, callback: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # The loop was closed while a handler ran: nobody is left to be told.
            if not self._loop.is_closed():
                raise

    def _settle_group(self, done: Sequence[Job], ended: bool) -> None:  # noqa: FBT001
        for job in done:
            job.settle()
        if ended:
            self._dispatcher.group_done()
        if self.worker.fatal is not None:
            self.fail(f"the accelerator is of no use any more: {self.worker.fatal}")

    def _set_timer(self, job: Job, deadline: float) -> None:
        left = deadline - self._clock()
        if left <= 0:
            self.counts.refused += 1
            raise DeadlineExceeded
        job.timer = self._loop.call_later(left, self.call_off, job, DeadlineExceeded())

    def _retry_after(self, operation: Operation) -> int:
        """Return the seconds until a place is likely to be free: 1 to 60."""
        seconds = (operation.service_time.mean or 0.0) * self.capacity.waiting
        return min(max(ceil(seconds / (operation.concurrency or 1)), 1), LONGEST_RETRY_AFTER)


def _refusal(state: State) -> Unavailable:
    if state is State.STARTING:
        return Starting("The model is still loading.", retry_after=1)
    if state is State.FAILED:
        return WorkerFailed()
    return Draining("The server is stopping.", retry_after=1)
