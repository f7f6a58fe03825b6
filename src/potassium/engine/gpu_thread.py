"""The GPU thread of this process: what runs an engine's model unless workers do."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from potassium.engine.bridge import Bridge
from potassium.engine.dispatcher import Dispatcher
from potassium.engine.errand import Errand
from potassium.engine.failure import Failure
from potassium.engine.hang_watch import HangWatch
from potassium.engine.heartbeat import Pulse
from potassium.engine.job import Job
from potassium.engine.model_runner import Surroundings
from potassium.engine.operation import Operation
from potassium.engine.push_room import PushRoom
from potassium.engine.stream import Stream
from potassium.engine.threads import Host, new_thread
from potassium.engine.worker import Worker
from potassium.engine.worker_report import WorkerReport

__all__ = ["GpuThread"]


class GpuThread:
    """Runs the jobs of an engine's queue on one thread: a ``ModelRunner``.

    Args:
        around: what it works with.
        is_fatal: returns whether an operation's error leaves the thread unusable.
        host: runs on its thread what the GPU thread does.

    Attributes:
        worker: what the thread runs.
        dispatcher: supplies it from the queue.
        pulse: whether the threads are idle, busy or stuck.

    """

    is_elsewhere = False
    workers_limit = 0

    def __init__(
        self,
        around: Surroundings,
        *,
        is_fatal: Callable[[BaseException], bool] = lambda _: False,
        host: Host = new_thread,
    ) -> None:
        clock = around.clock
        self.worker = Worker(
            self._report,
            Bridge[Stream[Job]](around.threads.tell_loop, around.hear),
            PushRoom(around.limits),
            is_fatal=is_fatal,
            begin_batch=around.begin_batch,
            clock=clock,
        )
        self.dispatcher = Dispatcher(
            around.jobs,
            self.worker,
            collect=lambda: around.settle(self.worker.unreported.take()),
            clock=clock,
        )
        self.pulse = Pulse(self.worker, around.pool, around.limits.hang_timeout, clock=clock)
        self.open_stream = self.worker.open_stream
        self.note_progress = self.worker.note_progress
        self.wake, self.catch_up = self.dispatcher.wake, self.dispatcher.catch_up
        self.prepare = around.pool.prepare
        self.close, self.stop = self.dispatcher.close, self.worker.stop
        self._around = around
        self._host = host
        self._hang_watch: HangWatch | None = None

    @property
    def current(self) -> tuple[Job | None, float]:
        """The job that the thread is running, and since when; or None, and since when it rests."""
        return self.worker.current, self.worker.since

    def report(self) -> Sequence[WorkerReport]:
        """Return nothing: this is no process of its own."""
        return ()

    def is_running(self, job: Job) -> bool:
        """Return whether the thread is running a job right now."""
        return self.worker.current is job

    async def load(self, job: Job) -> Any:
        """Start the thread and run ``job`` on it, which loads the model; return its outcome.

        On cancellation, the thread ends as soon as the job returns.

        Raises:
            BaseException: the thread could not be started.

        """
        thread = self._around.threads.start("potassium-gpu", self.worker, self._host)
        self.dispatcher.hand_over([job])
        await asyncio.wait({job.future, thread}, return_when=asyncio.FIRST_COMPLETED)
        if not job.future.done():
            thread.result()  # the thread could not be started
        return await job.future

    def watch(self) -> None:
        """Notice from now on when a step of a call makes no progress for too long."""
        longest = self._around.limits.hang_timeout
        if longest is not None:
            around = self._around
            self._hang_watch = HangWatch(
                self.pulse,
                longest,
                lambda name: around.fail(f"{name} has not returned for {longest:g} s"),
                clock=around.clock,
            )

    def refusal(self, job: Job) -> None:
        """Refuse no job: what would end the thread ends the process."""

    async def run_errand(self, errand: Errand) -> list[Any]:
        """Run a function on the thread, behind what that has already; return its one result."""
        future = asyncio.get_running_loop().create_future()
        operation = Operation(errand.name, lambda _: errand.run())
        self.dispatcher.hand_over([Job(operation, None, future, context=Context())])
        outcome = await asyncio.shield(future)
        if type(outcome) is Failure:
            raise outcome.to_raise()
        return [outcome]

    async def end(self) -> None:
        """End what belongs to no thread."""
        if self._hang_watch is not None:
            self._hang_watch.close()

    def _report(self, done: Sequence[Job], ended: bool) -> None:  # noqa: FBT001
        """Pass on what the thread reports; called on it."""
        # The error as of now: one that is still to come is passed on by its own report.
        fatal, at = self.worker.fatal, self._around.clock()
        self._around.threads.tell_loop(self._note, done, ended, fatal, at)

    def _note(
        self,
        done: Sequence[Job],
        ended: bool,  # noqa: FBT001
        fatal: BaseException | None,
        at: float,
    ) -> None:
        self._around.settle(done)
        if ended:
            self.dispatcher.group_done(at)
        else:
            self.dispatcher.wake()  # a stream may have ended
        if fatal is not None:
            self._around.fail(f"the accelerator is unusable: {fatal}")
