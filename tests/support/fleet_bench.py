"""An engine whose workers are fake ones, in virtual time."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from potassium import Limits
from potassium.config import Workers
from potassium.config.import_path import ImportPath
from potassium.engine import Engine, Job, Lifecycle, Operation, State, Stream
from potassium.handlers.handler import Handler
from potassium.http.message import Message
from potassium.http.reply import Reply
from potassium.workers.answering import Answering
from potassium.workers.asking import Question
from potassium.workers.fleet import Fleet
from potassium.workers.placement import Placement
from potassium.workers.post import Post
from potassium.workers.process import Start
from potassium.workers.remote import RemoteWorker
from support.engine import NOTHING
from support.fake_worker import FakeWorker, Spawner
from support.manual_time import ManualLoop

__all__ = ["FleetBench"]

T = TypeVar("T")
LIMITS: Mapping[str, Any] = MappingProxyType({"queue_size": 100, "grace_period": 5.0})


class FleetBench:
    """Everything between ``Engine.admit`` and the sockets of workers is real.

    Args:
        operations: what may be called.
        devices: how many workers there are.
        limits: options of ``Limits``.
        workers: options of ``Workers``.

    Attributes:
        loop: on which time stands still.
        engine: the engine.
        spawner: has all workers that were started.
        broken: what the loop was told of exceptions that nobody has caught.

    """

    def __init__(
        self,
        *operations: Operation,
        devices: int = 2,
        limits: Mapping[str, Any] = LIMITS,
        workers: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.loop = ManualLoop()
        self.broken: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.broken.append(str(context)))
        self.spawner = Spawner(self.loop.time)
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.starting: asyncio.Task[None] | None = None
        self.stopping: asyncio.Task[None] | None = None
        self.engine = self.run(self._engine(operations, devices, limits, workers))

    async def _engine(
        self,
        operations: tuple[Operation, ...],
        devices: int,
        limits: Mapping[str, Any],
        workers: Mapping[str, Any],
    ) -> Engine:
        return Engine(
            operations,
            limits=Limits(**{**LIMITS, **limits}),
            lifecycle=Lifecycle(),
            new_runner=partial(
                Fleet,
                handlers={operation.name: _handler(operation) for operation in operations},
                starts=[_start(number, operations) for number in range(devices)],
                workers=Workers(["cpu"] * devices, **workers),
                answering=Answering(_no_answer, lambda *_: None),
                spawn=self.spawner,
            ),
            clock=self.loop.time,
        )

    @property
    def fleet(self) -> Fleet:
        """What runs the model."""
        assert isinstance(self.engine.runner, Fleet)
        return self.engine.runner

    @property
    def posts(self) -> list[Post]:
        """The places of the workers."""
        return self.fleet.posts

    @property
    def state(self) -> State:
        """That of the engine."""
        return self.engine.lifecycle.state

    def worker_of(self, post: int) -> FakeWorker:
        """Return the worker that a post has."""
        process: Any = self.remote_of(post).process
        assert isinstance(process, FakeWorker)
        return process

    def remote_of(self, post: int) -> RemoteWorker:
        """Return the front's view of it."""
        worker = self.posts[post].worker
        assert worker is not None
        return worker

    def start(self, *, load: bool = True) -> list[FakeWorker]:
        """Start the engine; return its first workers, which have loaded if ``load``."""
        self.starting = self.loop.create_task(self.engine.start(NOTHING))
        self.rest()
        if load:
            while not self.starting.done():
                for worker in self.spawner:
                    if not worker.is_loaded:
                        worker.load()
                self.rest()
            self.starting.result()
        return list(self.spawner)

    def call(self, operation: Operation, *names: str, body: bytes = b"{}", **options: Any) -> Job:
        """Admit calls, all at once, and wait for their outcomes in ``tasks``; return the last."""

        async def admit() -> list[Job]:
            return [
                self.engine.admit(operation, None, origin=message(name, body), **options)
                for name in names
            ]

        jobs = self.run(admit())
        for name, job in zip(names, jobs, strict=True):
            self.tasks[name] = self.loop.create_task(self._outcome(job))
        self.rest()
        return jobs[-1]

    async def _outcome(self, job: Job) -> Any:
        outcome = await self.engine.outcome(job)
        if type(outcome) is not Stream:
            return outcome.body.decode().strip('"')
        chunks: list[bytes] = []
        try:
            while (some := await outcome.take()) is not None:
                chunks += some
        finally:
            self.engine.release(outcome)
        return chunks

    def outcome(self, name: str) -> Any:
        """Return what a call has returned, or the error that it has raised; it must be over."""
        task = self.tasks[name]
        assert task.done(), f"{name} is not settled"
        return task.exception() or task.result()

    def is_over(self, name: str) -> bool:
        """Return whether a call is settled."""
        return self.tasks[name].done()

    def leave(self, name: str) -> None:
        """Let the caller of a call go away."""
        self.tasks[name].cancel()
        self.rest()

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and let everything happen that is due."""
        self.loop.now += seconds
        self.rest()

    def rest(self) -> None:
        """Let the front and the sockets do all that they can."""
        give_up = time.monotonic() + 10
        heard = True
        while heard or not self.loop.is_at_rest or self._is_pool_busy():
            assert time.monotonic() < give_up, "the front does not come to rest"
            self.loop.rest()
            self.loop.step()  # what has arrived at a socket shows only when the loop looks
            heard = sum(worker.hear() for worker in self.spawner) > 0

    def _is_pool_busy(self) -> bool:
        pool = self.engine._pipeline.pool
        return pool.oldest is not None or (bool(self.engine._threads) and not pool._inbox.empty())

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Run ``what``, which must not wait for anything."""
        task = self.loop.create_task(what)
        while not task.done():
            self.loop.step()
        return task.result()

    def do(self, what: Callable[[], T]) -> T:
        """Call a function on the loop."""

        async def call() -> T:
            return what()

        result = self.run(call())
        self.rest()
        return result

    def run_next(self, worker: FakeWorker, together: int = 1) -> list[str]:
        """Let a worker begin and end its next call, or so many of a batch; return their names."""
        names = [call.name for call in worker.begin(together=together)]
        worker.finish()
        self.rest()
        return names

    def die(self, worker: FakeWorker, status: int = -9) -> None:
        """Let a worker end."""
        self.do(lambda: worker.die(status))

    def stop(self) -> None:
        """Stop the engine: its workers end once they are told to."""
        if self.state in (State.READY, State.DRAINING, State.FAILED):
            self.stopping = self.loop.create_task(self.engine.stop())
            self.rest()
            give_up = time.monotonic() + 10
            while not self.stopping.done():
                assert time.monotonic() < give_up, "the engine does not stop"
                for worker in list(self.spawner):
                    if worker.is_stopping and not worker.running:
                        self.die(worker, 0)
                # Threads are real: time must not pass faster than they end.
                self.loop.now += 0.25 if self.engine.calls else 0.01
                self.rest()
                time.sleep(0.0005)
            self.stopping.result()

    def close(self) -> None:
        """Stop, and check that nothing is left."""
        try:
            for task in self.tasks.values():
                task.cancel()
            self.rest()
            self.stop()
            self.loop.now += 2.0  # the timers of those that linger
            self.rest()
            assert self.broken == []
            assert not list(self.spawner), "a worker is left"
            assert not asyncio.all_tasks(self.loop), "a task is left"
            selector: Any = self.loop._selector  # type: ignore[attr-defined]
            assert len(selector.get_map()) == 1, "a reader is left"  # beside that of the loop
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            for worker in list(self.spawner):
                self.do(partial(worker.die, -9))
            self.loop.step(10)
            self.loop.close()


def message(name: str, body: bytes) -> Message:
    """Return a request with an id and a content."""
    return Message(name, [(b"content-type", b"application/json")], body)


def _start(number: int, operations: tuple[Operation, ...]) -> Start:
    return Start(
        ImportPath(Path("/nowhere"), "app"),
        Placement("cpu", "cpu", {}),
        f"cpu #{number}",
        {},
        tuple(operation.name for operation in operations),
    )


async def _no_answer(question: Question) -> Reply:
    raise NotImplementedError(question)


def _handler(operation: Operation) -> Handler:
    unused: Any = None
    return Handler(
        path=operation.name,
        function=len,
        bind=unused,
        operation=operation,
        alone=operation,
        yields=False,
        options={},
    )
