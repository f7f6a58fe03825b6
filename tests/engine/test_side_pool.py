"""Steps of jobs that run off the GPU thread."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.engine import Gate, running
from support.operations import operation_on

from potassium.config import Batch
from potassium.engine import Failure, Job, Operation, Priority, Unfinished
from potassium.engine.side_pool import SidePool
from potassium.errors import ClientLeft, Draining, HandlerError, InvalidInput, QueueFull, UsageError


class Bench:
    """A pool that runs on the test's own thread."""

    def __init__(self) -> None:
        self.prepared: list[Job] = []
        self.finished: list[Job] = []
        self.pool = SidePool(
            1, _at_once, prepared=self.prepared.append, finished=self.finished.append
        )

    def run(self) -> None:
        self.pool.stop()
        self.pool.run()


def _at_once(callback: Callable[[], object]) -> None:
    callback()


def job(operation: Operation, argument: Any = None) -> Job:
    return Job(operation, argument, asyncio.get_running_loop().create_future())


def fail(error: BaseException) -> Any:
    raise error


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_prepares_arguments_and_finishes_outcomes(bench: Bench) -> None:
    """Jobs come back in the order in which they were given, each with what its step made."""
    operation = operation_on("x", lambda _: None, prepare=lambda n: n + 1, finish=lambda n: n * 2)
    first, second = job(operation, 1), job(operation)
    second.outcome = 21
    bench.pool.prepare(first)
    bench.pool.finish(second)
    bench.run()
    assert (bench.prepared, bench.finished) == ([first], [second])
    assert (first.argument, second.outcome) == (2, 42)


async def test_the_cost_is_that_of_the_prepared_argument(bench: Bench) -> None:
    """The cost function of a batched operation gets what the operation's run will get."""
    batch = Batch(cost=len)
    one = job(operation_on("x", lambda _: None, batch=batch, prepare=str.split), "a b c")
    bench.pool.prepare(one)
    bench.run()
    assert one.cost == 3


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
async def test_whatever_a_step_raises_is_the_outcome(
    bench: Bench, kind: type[BaseException]
) -> None:
    """An exception of any class becomes a Failure, and the thread goes on."""
    step = lambda _: fail(kind())  # noqa: E731
    failing = operation_on("x", lambda _: None, prepare=step, finish=step)
    first, second = job(failing), job(failing)
    third = job(operation_on("y", lambda _: None, prepare=lambda _: "prepared"))
    bench.pool.prepare(first)
    bench.pool.finish(second)
    bench.pool.prepare(third)
    bench.run()
    for one in (first, second):
        assert isinstance(one.outcome, Failure)
        assert isinstance(one.outcome.error, kind)
    assert third.argument == "prepared"


async def test_a_cost_that_cannot_be_is_the_outcome(bench: Bench) -> None:
    """A cost function that returns an invalid cost fails the call."""
    one = job(operation_on("x", lambda _: None, batch=Batch(cost=lambda _: -1)))
    bench.pool.prepare(one)
    bench.run()
    assert isinstance(one.outcome.error, UsageError)


async def test_nothing_is_done_for_a_job_that_was_called_off(bench: Bench) -> None:
    """Neither step runs for a job that was called off, but the job still comes back."""
    ran: list[Any] = []
    operation = operation_on("x", lambda _: None, prepare=ran.append, finish=ran.append)
    first, second = job(operation), job(operation)
    for one, step in ((first, bench.pool.prepare), (second, bench.pool.finish)):
        step(one)
        one.call_off(ClientLeft())
    bench.run()
    assert ran == []
    assert (bench.prepared, bench.finished) == ([first], [second])


async def test_stop_ends_every_thread_after_what_was_asked_for() -> None:
    """Each of three threads ends, after everything that was requested before is done."""
    done: list[Job] = []
    pool = SidePool(3, _at_once, prepared=done.append, finished=done.append)
    threads = [threading.Thread(target=pool.run, daemon=True) for _ in range(3)]
    operation = operation_on("x", lambda _: None, prepare=lambda _: None)
    for _ in range(50):
        pool.prepare(job(operation))
    pool.stop()
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
    assert len(done) == 50


async def test_the_steps_run_beside_the_gpu_thread() -> None:
    """A call goes through prepare, run and finish, and only run holds the GPU thread."""
    names: list[str] = []

    def step(argument: list[str]) -> list[str]:
        names.append(threading.current_thread().name)
        return [*argument, "step"]

    operation = operation_on("x", step, prepare=step, finish=step)
    async with running(operation) as engine:
        assert await engine.call(operation, []) == ["step"] * 3
    assert names == ["potassium-pool", "potassium-gpu", "potassium-pool"]


@pytest.mark.parametrize("step", ["prepare", "finish"])
@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError(), HandlerError), (InvalidInput("no"), InvalidInput)]
)
async def test_an_error_of_a_step_is_the_callers(
    step: str, error: Exception, kind: type[Exception]
) -> None:
    """The caller gets it as if one function did it all, and the job's place is free again."""
    steps = {step: lambda _: fail(error)}
    operation = operation_on("x", lambda _: None, **steps)  # type: ignore[arg-type]  # one of the two
    async with running(operation) as engine:
        with pytest.raises(kind):
            await engine.call(operation, None)
        assert engine.capacity.waiting == 0
        assert not engine.calls


async def test_a_job_that_is_prepared_counts_as_waiting() -> None:
    """The queue's limit covers jobs in the pool, until the pool is done with them."""
    gate = Gate()
    operation = operation_on("x", lambda _: None, prepare=gate.run)
    async with running(operation, queue_size=1) as engine:
        first = asyncio.create_task(engine.call(operation, 0))
        await gate.has_begun()
        with pytest.raises(QueueFull):
            engine.admit(operation, 1)
        first.cancel()
        await asyncio.wait({first})
        with pytest.raises(QueueFull):  # the pool still holds it
            engine.admit(operation, 1)
        gate.open(2)
        while engine.capacity.waiting:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.001)
        assert await engine.call(operation, 2) is None


async def test_a_background_job_takes_no_place_in_the_pool() -> None:
    """Neither before it runs nor after; it enters although the queue is full."""
    calls, prepared, finished = Gate(), Gate(), Gate()
    operation = operation_on("x", lambda _: None, prepare=prepared.run, finish=finished.run)
    async with running(operation, calls.operation, queue_size=1) as engine:
        first = asyncio.create_task(engine.call(calls.operation, 0))
        await calls.has_begun()
        full = asyncio.create_task(engine.call(calls.operation, 1))
        await asyncio.sleep(0)
        job = engine.admit(operation, 2, priority=Priority.LOW, is_background=True)
        await prepared.has_begun()
        assert engine.capacity.waiting == 1
        calls.open(2)
        assert [await first, await full] == [0, 1]
        prepared.open()
        await finished.has_begun()
        assert engine.capacity.waiting == 0
        finished.open()
        assert await engine.outcome(job) is None


async def test_the_end_of_the_grace_takes_what_is_in_the_pool() -> None:
    """A job that is being prepared when the grace period ends never runs; its caller is told."""
    gate, ran = Gate(), list[Any]()
    operation = operation_on("x", ran.append, prepare=gate.run)
    async with running(operation, grace_period=0.01) as engine:
        call = asyncio.create_task(engine.call(operation, 0))
        await gate.has_begun()
        engine.drain()
        with pytest.raises(Draining):
            await call
        gate.open()
    assert ran == []


async def test_an_idle_pool_holds_on_to_no_job() -> None:
    """What a step made is freed with its job, even while the thread waits for work."""

    class Big:
        pass

    operation = operation_on("x", lambda _: None, prepare=lambda _: Big())
    async with running(operation) as engine:
        one = engine.admit(operation, None)
        await engine.outcome(one)
        alive = weakref.ref(one)
        del one
        for _ in range(100):
            if alive() is None:
                break
            await asyncio.sleep(0.01)
        assert alive() is None


def pool_threads() -> int:
    return sum(one.name == "potassium-pool" for one in threading.enumerate())


async def test_a_result_that_is_unfinished_is_finished_in_the_pool() -> None:
    """Though its operation has no step for that; the threads start when one is needed."""

    def run(number: int) -> Any:
        if not number:
            return threading.current_thread().name
        return Unfinished(lambda: f"{number} on {threading.current_thread().name}")

    operation = operation_on("x", run)
    async with running(operation) as engine:
        assert await engine.call(operation, 0) == "potassium-gpu"
        assert pool_threads() == 0
        calls = [engine.call(operation, number) for number in range(1, 20)]
        assert await asyncio.gather(*calls) == [f"{n} on potassium-pool" for n in range(1, 20)]
        assert 0 < pool_threads() <= 4
    assert pool_threads() == 0


async def test_what_finishes_a_result_may_fail() -> None:
    """The caller gets the error, and the job's place is free again."""
    operation = operation_on("x", lambda _: Unfinished(lambda: fail(InvalidInput("no"))))
    async with running(operation) as engine:
        with pytest.raises(InvalidInput):
            await engine.call(operation, None)
        assert engine.capacity.waiting == 0


async def test_a_result_that_nobody_wants_stays_unfinished(bench: Bench) -> None:
    """Nothing is done for a caller that has left."""
    ran: list[Any] = []
    one = job(operation_on("x", lambda _: None))
    one.outcome = Unfinished(lambda: ran.append(1))
    bench.pool.finish(one)
    one.call_off(ClientLeft())
    bench.run()
    assert ran == []
