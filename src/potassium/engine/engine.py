"""The engine: admits jobs, runs them on the GPU thread or on the loop, and settles them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any

from potassium.config import Limits
from potassium.engine.failure import Failure
from potassium.engine.gpu_thread import GpuThread
from potassium.engine.job import Job, Priority
from potassium.engine.lifecycle import Lifecycle, State, refusal
from potassium.engine.model_runner import ModelRunner, Surroundings
from potassium.engine.observer import Observer
from potassium.engine.open_calls import OpenCalls
from potassium.engine.operation import Operation
from potassium.engine.pipeline import Pipeline
from potassium.engine.stream import Stream
from potassium.engine.threads import Threads
from potassium.errors import ClientLeft, Draining, PotassiumError, WorkerFailed

__all__ = ["Engine"]

LAST_MOMENTS = 0.5  # seconds that threads have to end when no time is left

logger = logging.getLogger("potassium")


class Engine:
    """Decides which jobs are admitted, how long they may take, and when the server stops.

    Admitted jobs go through its ``Pipeline``. All of it belongs to one event loop. The engine owns
    its tasks and threads; ``stop`` awaits them.

    Args:
        begin_thread: called on each thread before anything else.
        observer: is notified of what happens to the jobs; None to notify nobody.
        new_runner: makes what runs the model; by default, the GPU thread of this process.

    Attributes:
        lifecycle: the current state, which anyone may read.
        runner: what runs the model.
        capacity: how many jobs wait and may wait for the GPU thread.
        lanes: what runs the jobs of each operation that belongs to the loop.
        is_full: returns whether another server should get the next call.
        rehearse: runs jobs that are no calls, while it starts; see ``Pipeline.rehearse``.
        calls: admitted jobs whose callers still wait, and the counts of all jobs.
        pulse: whether what runs the handlers is idle, busy or stuck.
        uses_thread: whether any operation uses the model.
        started_at: when it became ready, in seconds since the epoch; None before that.
        cut_off: how many direct calls were still open at the end of the grace period.

    """

    def __init__(  # noqa: PLR0913 - what differs between apps and tests
        self,
        operations: Iterable[Operation],
        *,
        limits: Limits,
        lifecycle: Lifecycle,
        begin_thread: Callable[[], object] = lambda: None,
        observer: Observer | None = None,
        new_runner: Callable[[Surroundings], ModelRunner] = GpuThread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lifecycle = lifecycle
        self.started_at: float | None = None
        self._threads = Threads(self._tell_loop, begin_thread, lost=self.fail)
        self._pipeline = Pipeline(
            operations,
            limits,
            self._threads,
            new_runner,
            fail=self.fail,
            observer=observer,
            clock=clock,
        )
        self.runner = self._pipeline.runner
        self.pulse, self.uses_thread = self.runner.pulse, self._pipeline.uses_thread
        self.capacity = self._pipeline.jobs.capacity
        self.lanes, self._limits = self._pipeline.lanes, limits
        self.is_full, self.rehearse = self._pipeline.is_full, self._pipeline.rehearse
        self._tasks: list[asyncio.Task[None]] = []
        self.calls = OpenCalls(self._pipeline.discard, clock, observer)
        self._clock = clock
        self._grace_timer: asyncio.TimerHandle | None = None
        self.cut_off = 0

    async def start(
        self, init: Operation, rehearsals: Callable[[], Awaitable[Failure | None]] | None = None
    ) -> None:
        """Start the GPU thread, run ``init`` on it and then ``rehearsals``, and admit jobs.

        On cancellation, the thread ends as soon as ``init`` returns, and the engine is STOPPED.

        Raises:
            BaseException: what ``init`` raised, or a rehearsal did; the engine is then FAILED.

        """
        self._loop = asyncio.get_running_loop()
        job = Job(init, None, self._loop.create_future())
        job.admitted_at = self._clock()
        try:
            outcome = await self.runner.load(job)
            if not isinstance(outcome, Failure):
                self._tasks = self._pipeline.begin()
                outcome = None if rehearsals is None else await rehearsals()
        except asyncio.CancelledError:
            await self._wind_up(State.STOPPED)
            raise
        if isinstance(outcome, Failure):
            await self._wind_up(State.FAILED)
            raise outcome.error
        self._pipeline.open()
        self.started_at = time.time()
        self.lifecycle.advance(State.READY)
        self.runner.watch()

    @property
    def servers(self) -> int:
        """How many workers serve; 1 if a thread of this process does, or none."""
        return self._pipeline.jobs.servers

    def estimated_wait(self, operation: Operation) -> float:
        """Return the seconds that a call of ``operation`` is expected to wait in its queue."""
        return self._pipeline.queue_of(operation).estimated_wait(operation)

    async def call(self, operation: Operation, argument: Any, **options: Any) -> Any:
        """Admit a job and return its result; see ``admit`` and ``outcome``."""
        return await self.outcome(self.admit(operation, argument, **options))

    def admit(  # noqa: PLR0913 - what is known of a call
        self,
        operation: Operation,
        argument: Any,
        *,
        deadline: float | None = None,
        priority: Priority = Priority.NORMAL,
        origin: Any = None,
        client: Hashable | None = None,
        is_background: bool = False,
        caller: Job | None = None,
    ) -> Job:
        """Put a new job into the queue, or refuse it at once.

        At ``deadline``, in monotonic seconds, the job is called off with ``DeadlineExceeded``. Its
        ``origin`` is opaque to the engine. A ``client`` may hold only a share of the queue, so that
        others find a place. While the engine drains, only an admitted ``caller`` gets more jobs.

        Raises:
            DeadlineExceeded: the deadline has already passed.
            QueueFull: there is no place, see ``Capacity``; never raised for a background job.
            Unavailable: the engine is not READY.

        """
        state = self.lifecycle.state
        if state is not State.READY and (state is not State.DRAINING or caller not in self.calls):
            raise self.calls.refused(operation, refusal(state))
        job = Job(
            operation,
            argument,
            self._loop.create_future(),
            deadline,
            priority,
            origin,
            self.runner.open_stream if operation.concurrency is None else None,
        )
        job.client, job.is_background, job.admitted_at = client, is_background, self._clock()
        if (error := self.runner.refusal(job)) is not None:
            raise self.calls.refused(operation, error)
        if deadline is not None:
            self.calls.limit(job, deadline)
        try:
            self._pipeline.let_in(job)
        except asyncio.QueueFull:
            if job.timer is not None:
                job.timer.cancel()
            error = self._pipeline.queue_of(operation).refusal(job)
            raise self.calls.refused(operation, error) from None
        self.calls.open(job)
        return job

    async def outcome(self, job: Job) -> Any:
        """Wait for an admitted job and return its result, or its ``Stream``.

        The caller must ``release`` a stream. Cancellation calls the job off: it leaves the
        queue or, if the GPU thread is already running it, runs to its end there, and its result
        is dropped.

        Raises:
            PotassiumError: the operation raised it, or it was passed to ``call_off``.
            HandlerError: the operation raised any other exception, which is the ``__cause__``.

        """
        try:
            outcome = await job.future
        except asyncio.CancelledError:
            self.calls.call_off(job, ClientLeft())
            self.calls.close(job, cancelled=True)
            raise
        if type(outcome) is Stream:
            return outcome
        if type(outcome) is Failure:
            self.calls.close(job)
            error = outcome.to_raise()
            del job, outcome  # they may refer to the error, and that to this frame
            try:
                raise error
            finally:
                del error
        self.calls.close(job, succeeded=True)
        return outcome

    def abandon(self, job: Job) -> None:
        """Call off an admitted job instead of waiting for its ``outcome``."""
        self.calls.call_off(job, ClientLeft())
        self.calls.close(job, cancelled=True)

    def release(self, stream: Stream[Job]) -> None:
        """Stop reading ``stream``; unless it is over, its job is called off."""
        job = stream.job
        if not stream.is_over:
            self.calls.call_off(job, ClientLeft())
            stream.is_over = True
        self._pipeline.report(stream)  # its reader may know of its end before the loop is told
        self.calls.close(job, succeeded=job.called_off is None and stream.failure is None)

    def call_off(self, job: Job, error: PotassiumError) -> None:
        """Settle ``job`` with ``error`` and take it out of the queue, if it still waits there.

        A running async operation is cancelled. One on the GPU thread runs to its end, or if it
        streams, to the end of its step. Does nothing if the job is over.
        """
        self.calls.call_off(job, error)

    def drain(self) -> None:
        """Stop admitting jobs; those already admitted have the grace period to finish.

        What is left after that is called off. Does nothing if the engine is not READY.
        """
        if self.lifecycle.state is State.READY:
            self.lifecycle.advance(State.DRAINING)
            self._drain_ends = self._clock() + self._limits.grace_period
            self._grace_timer = self._loop.call_later(self._limits.grace_period, self._end_grace)

    async def stop(self) -> None:
        """Drain, then end the threads.

        A handler that outlasts the grace period is left behind, on a thread that ends when it
        returns. Does nothing if the engine was never READY, or has stopped.
        """
        self.drain()
        if self.lifecycle.state is State.DRAINING:
            await self.calls.wait()
            left = max(self._drain_ends - self._clock(), LAST_MOMENTS)
            await self._wind_up(State.STOPPED, within=left)
        elif self.lifecycle.state is State.FAILED and self.started_at is not None:
            await self._wind_up(State.FAILED, within=LAST_MOMENTS)

    def fail(self, why: str) -> None:
        """Fail for good: refuse all new calls, and call off every open one with WorkerFailed."""
        if self.lifecycle.state not in (State.READY, State.DRAINING):
            return
        logger.critical("the server has failed and must be restarted: %s", why)
        self.lifecycle.advance(State.FAILED)
        self.calls.call_off_all(WorkerFailed)
        self._end_tasks()

    async def _wind_up(self, state: State, *, within: float | None = None) -> None:
        """Wait until the threads have run what they were given, and advance to ``state``."""
        if self._grace_timer is not None:
            self._grace_timer.cancel()
        self._end_tasks()
        self._pipeline.stop()
        ending = asyncio.create_task(self.runner.end(), name="potassium-runner")
        try:
            await self._threads.wait([*self._tasks, ending], within)
        finally:
            ending.cancel()  # if it is not over, there is no time left
            if self.lifecycle.state is not State.FAILED:
                self.lifecycle.advance(state)

    def _end_tasks(self) -> None:
        self.runner.close()
        for task in self._tasks:
            task.cancel()

    def _end_grace(self) -> None:
        self.cut_off = self.calls.direct()
        if self.cut_off:
            logger.error("%d calls did not finish within the grace period", self.cut_off)
        self.calls.call_off_all(lambda: Draining("The server stopped before the call finished."))

    def _tell_loop(self, callback: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # if the loop was closed while a handler ran, nobody is left to notify
            if not self._loop.is_closed():
                raise
