"""The workers of an app, and the one queue that they share: a ``ModelRunner``."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from math import inf
from typing import Any

from potassium.config import Workers
from potassium.engine import Errand, Failure, Job, Stream, WorkerReport
from potassium.engine.model_runner import Surroundings
from potassium.errors import PotassiumError
from potassium.handlers.handler import Handler
from potassium.workers.aftermath import Aftermath
from potassium.workers.answering import Answering
from potassium.workers.culprits import Culprits
from potassium.workers.death import OomKills, WorkerDeaths
from potassium.workers.dispatching import OVERDUE, SOON
from potassium.workers.errands import Errands
from potassium.workers.hangs import Hangs
from potassium.workers.hearing import Hearing
from potassium.workers.numbering import numbered
from potassium.workers.poison import PoisonRegister
from potassium.workers.post import Post, Spawn
from potassium.workers.preparing import Preparing
from potassium.workers.process import Start, WorkerProcess
from potassium.workers.pulse import FleetPulse
from potassium.workers.remote import Keeper, RemoteWorker
from potassium.workers.report import report_of
from potassium.workers.restarts import Restarts

__all__ = ["Fleet"]


class Fleet:
    """Runs the jobs of an engine's queue in worker processes. Belongs to the event loop.

    Every device has a ``Post``, which always has a worker: when one dies, another one takes its
    place. Each worker has a dispatcher of its own on the common queue.

    Args:
        around: what it works with.
        handlers: those of the app, by path.
        starts: how each of them is started.
        workers: what the app's author has said of them.
        answering: does what their handlers ask.
        spawn: starts a process.

    Attributes:
        posts: one for each device.
        pulse: whether the workers are idle, busy or stuck.

    """

    is_elsewhere = True
    open_stream: Callable[[Job], Stream[Job]] | None = None  # that happens in the workers

    def __init__(  # noqa: PLR0913 - what differs between apps
        self,
        around: Surroundings,
        *,
        handlers: Mapping[str, Handler],
        starts: Sequence[Start],
        workers: Workers,
        answering: Answering,
        spawn: Spawn = WorkerProcess,
    ) -> None:
        self._around = around
        operations = [operation for operation, _ in numbered(handlers)]
        self._number_of = {operation: number for number, operation in enumerate(operations)}
        self._preparing = Preparing(around, operations, lambda: self.workers)
        self._finish = {operation: operation.finish for operation in operations}
        for operation in operations:
            operation.finish = None  # that is done in the workers
        self._answering = answering
        self._culprits = Culprits(PoisonRegister(around.clock))
        self._errands = Errands(lambda: self.workers)
        ended, ran = self._culprits.ended, self._errands.ran
        self._hearing = Hearing(around, operations, ended=ended, ran=ran, answering=answering)
        fail, unbegun = self._hearing.fail, self._unbegun
        self._aftermath = Aftermath(
            around, self._culprits, fail=fail, prepare=self.prepare, unbegun=unbegun
        )
        loading = asyncio.Semaphore(workers.load_at_once or len(starts))
        deaths = WorkerDeaths(OomKills())
        self.posts = [
            Post(
                start.name,
                start,
                self,
                loading=loading,
                load_timeout=workers.load_timeout,
                restarts=Restarts(around.clock),
                deaths=deaths,
                spawn=spawn,
                clock=around.clock,
            )
            for start in starts
        ]
        self.pulse = FleetPulse(self.posts, around)
        self._hangs = Hangs(around, self.pulse)
        self._context = Context()  # of looks at the queue: that of no call, which it would keep
        self._homes: dict[Job, RemoteWorker] = {}  # who prepares what nobody runs so far
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None  # set while a call waits behind another one
        self._is_closed = False

    @property
    def workers(self) -> list[RemoteWorker]:
        """Those that serve."""
        ready = [post.worker for post in self.posts if post.is_ready]
        return [worker for worker in ready if worker is not None and not worker.has_left]

    @property
    def workers_limit(self) -> int:
        """How many worker processes run the model, if none is missing."""
        return len(self.posts)

    @property
    def current(self) -> tuple[Job | None, float]:
        """The job that has been running for the longest, and since when."""
        running = [(one.since, one.current) for one in self.workers]
        busy = [(since, job) for since, job in running if job is not None]
        if busy:
            since, job = min(busy, key=lambda one: one[0])
            return job, since
        return None, max((since for since, _ in running), default=self._around.clock())

    def report(self) -> list[WorkerReport]:
        """Return what there is to say of each worker; reads a file for each of them."""
        return [report_of(post, self.pulse, self._around.clock()) for post in self.posts]

    def is_running(self, job: Job) -> bool:
        """Return whether a worker is running a job right now."""
        return any(worker.runs(job) for worker in self.workers)

    async def load(self, job: Job) -> Any:  # noqa: ARG002 - each worker has its own
        """Start the workers; return the failure of the first that cannot load the model, or None.

        On cancellation, they are ended at once.
        """
        for post in self.posts:
            post.begin()
        for first in asyncio.as_completed([post.first for post in self.posts]):
            if (failure := await first) is not None:
                return Failure(failure)
        return None

    def watch(self) -> None:
        """Notice from now on when a step of a call makes no progress for too long."""
        self._hangs.begin(self.posts)

    def wake(self) -> None:
        """Look at the queue soon, after the callbacks that are already scheduled."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look, context=self._context)

    def catch_up(self) -> None:
        """Look at the queue now if a look is due."""
        if self._is_due:
            self._look()

    def prepare(self, job: Job) -> None:
        """Prepare the argument of a job that has a place, and compute its cost."""
        self._preparing.prepare(job)

    async def run_errand(self, errand: Errand) -> list[Any]:
        """Run a function between calls, in one worker after the other; return its results."""
        return await self._errands.run(errand)

    def note_progress(self, job: Job) -> None:
        """Do nothing: a worker knows when a call of its own goes on."""

    def close(self) -> None:
        """Begin nothing more; the jobs in the queue stay there."""
        self._is_closed = True
        for worker in self.workers:
            worker.dispatcher.close()

    def stop(self) -> None:
        """Let the workers end once they have run what they were given."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for post in self.posts:
            post.stop()

    async def end(self) -> None:
        """Wait for the workers to end; on cancellation, end them at once."""
        try:
            await asyncio.gather(*(post.over() for post in self.posts))
        finally:
            for post in self.posts:
                post.kill()
            for operation, finish in self._finish.items():
                operation.finish = finish
            await self._answering.close()

    def refusal(self, job: Job) -> PotassiumError | None:
        """Return the error that refuses a job because it has killed workers, or None."""
        return self._culprits.refusal(job)

    def new_worker(self, process: WorkerProcess, keeper: Keeper) -> RemoteWorker:
        """Return the front's view of a process that ``keeper`` has started."""
        return RemoteWorker(
            process,
            self._number_of,
            self._around,
            receive=self._hearing,
            look=self.wake,
            look_now=self._look,
            keeper=keeper,
            homes=self._homes,
        )

    async def brought_up(self, worker: RemoteWorker) -> Exception | None:
        """Run in a new worker what the others have run; return what it fails with."""
        return await self._errands.catch_up(worker)

    def joined(self, post: Post) -> None:
        """Let a worker that has loaded serve."""
        self._count()
        self._hangs.watch(post)
        self._preparing.go_on()
        self.wake()

    def left(self, worker: RemoteWorker) -> bool:
        """Settle what a dead worker had begun, and put back what it had not.

        Return whether the calls that it had begun explain its death.
        """
        self._hangs.gone(worker)
        self.pulse.gone(worker)
        self._errands.gone(worker)
        self._answering.gone(worker)
        explained = self._aftermath.settle(worker.bury())
        self._count()
        self.wake()
        return explained

    def gave_up(self, post: Post) -> None:  # noqa: ARG002 - of any of them
        """Fail if no device is left."""
        if not any(one.may_serve_again for one in self.posts):
            self._around.fail("no device has a worker any more")

    def _unbegun(self) -> list[Job]:
        """Return the calls that workers have not begun, and those that wait to be prepared."""
        return [job for one in self.workers for job in one.unbegun()] + self._preparing.waiting

    def _count(self) -> None:
        """Let the estimates of waiting times know how many workers there are."""
        self._around.jobs.servers = max(1, len(self.workers))

    def _look(self) -> None:
        self._is_due = False
        if self._is_closed:
            return
        workers = sorted(self.workers, key=_load_of)
        for worker in workers:
            if not worker.dispatcher.load:
                worker.dispatcher.look(ahead=False)
        if not self._around.jobs.empty():
            for worker in workers:
                worker.dispatcher.look(ahead=True)
        self._recall()

    def _recall(self) -> None:
        """Want calls back that another worker could begin, or whose turn does not come in time."""
        soonest = inf
        workers = self.workers
        is_any_idle = self._around.jobs.empty() and not all(one.dispatcher.load for one in workers)
        for worker in workers:
            if (behind := worker.dispatcher.behind()) is None:
                continue
            left, group = behind
            wait = left + OVERDUE
            if wait <= 0 or (is_any_idle and left > OVERDUE):
                worker.recall(group)
            else:
                soonest = min(soonest, wait)
        if soonest < inf and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                max(soonest, SOON), self._look_again, context=self._context
            )

    def _look_again(self) -> None:
        self._timer = None
        self._look()


def _load_of(worker: RemoteWorker) -> tuple[int, int]:
    return worker.dispatcher.load, worker.turns
