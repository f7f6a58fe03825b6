"""Operations that run on the event loop."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest
from support.engine import NOTHING, Gate, running
from support.operations import operation_on

from potassium import Limits
from potassium.engine import Engine, Job, Lifecycle, Operation
from potassium.engine.bridge import Bridge
from potassium.engine.loop_worker import LoopWorker
from potassium.engine.queue import Capacity, JobQueue
from potassium.engine.stream import Stream
from potassium.errors import ClientLeft, DeadlineExceeded, Draining, HandlerError, QueueFull

UNUSED: Bridge[Stream[Job]] = Bridge(lambda _: None, lambda _: None)


class Counter:
    """An async operation that counts how many of its jobs run at a time."""

    def __init__(self, concurrency: int) -> None:
        self.inside = self.most = 0
        self.ran: list[Any] = []
        self.go = asyncio.Event()
        self.operation = operation_on("async", self._run, concurrency=concurrency)

    async def _run(self, argument: Any) -> Any:
        self.ran.append(argument)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.go.wait()
        finally:
            self.inside -= 1
        return argument


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_as_many_run_at_a_time_as_the_concurrency_says(concurrency: int) -> None:
    """Of ten calls, ``concurrency`` run at once, and all are answered."""
    counter = Counter(concurrency)
    async with running(counter.operation) as engine:
        calls = [asyncio.create_task(engine.call(counter.operation, n)) for n in range(10)]
        await settle()
        assert counter.inside == concurrency
        counter.go.set()
        assert await asyncio.gather(*calls) == list(range(10))
        assert counter.most == concurrency


async def test_they_run_on_the_event_loop() -> None:
    """An async operation runs on the loop's own thread."""

    async def run(_: Any) -> threading.Thread:
        return threading.current_thread()

    operation = operation_on("where", run, concurrency=1)
    async with running(operation) as engine:
        assert await engine.call(operation, None) is threading.current_thread()


async def test_a_busy_gpu_thread_is_not_in_the_way() -> None:
    """While the GPU thread runs a long job, async operations are answered."""
    gate, counter = Gate(), Counter(1)
    counter.go.set()
    async with running(gate.operation, counter.operation) as engine:
        long = asyncio.create_task(engine.call(gate.operation, 0))
        await gate.has_begun()
        assert await engine.call(counter.operation, 7) == 7
        gate.open()
        await long


async def test_a_lane_that_is_full_refuses_only_its_own_calls() -> None:
    """While an async operation hangs and its queue is full, all other operations are served."""
    gate, stuck, other = Gate(), Counter(1), Counter(1)
    other.go.set()
    gate.open(10)
    operations = (gate.operation, stuck.operation, other.operation)
    async with running(*operations, queue_size=2) as engine:
        calls = [asyncio.create_task(engine.call(stuck.operation, 0))]
        await settle()
        calls += [asyncio.create_task(engine.call(stuck.operation, n)) for n in (1, 2)]
        await settle()
        with pytest.raises(QueueFull):
            await engine.call(stuck.operation, 3)
        assert [await engine.call(gate.operation, n) for n in range(10)] == list(range(10))
        assert [await engine.call(other.operation, n) for n in range(10)] == list(range(10))
        stuck.go.set()
        assert await asyncio.gather(*calls) == [0, 1, 2]


async def test_a_full_queue_of_the_gpu_thread_refuses_no_call_of_a_lane() -> None:
    """While the GPU thread is busy and its queue is full, async operations are served."""
    gate, counter = Gate(), Counter(1)
    counter.go.set()
    async with running(gate.operation, counter.operation, queue_size=2) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, 0))]
        await gate.has_begun()
        calls += [asyncio.create_task(engine.call(gate.operation, n)) for n in (1, 2)]
        await settle()
        with pytest.raises(QueueFull):
            await engine.call(gate.operation, 3)
        assert [await engine.call(counter.operation, n) for n in range(10)] == list(range(10))
        gate.open(3)
        await asyncio.gather(*calls)


async def test_a_server_is_full_when_the_queue_of_the_gpu_thread_is() -> None:
    """A full lane does not make it so, unless there is nothing but lanes."""
    gate, counter = Gate(), Counter(1)

    async def fill(engine: Engine, operation: Operation) -> list[asyncio.Task[Any]]:
        calls = [asyncio.create_task(engine.call(operation, 0))]
        await asyncio.sleep(0.01)
        calls += [asyncio.create_task(engine.call(operation, 1))]
        await settle()
        return calls

    async with running(gate.operation, counter.operation, queue_size=1) as engine:
        calls = await fill(engine, counter.operation)
        assert not engine.is_full()
        calls += await fill(engine, gate.operation)
        assert engine.is_full()
        gate.open(2)
        counter.go.set()
        await asyncio.gather(*calls)
        assert not engine.is_full()

    first, second = Counter(1), Counter(1)
    async with running(first.operation, second.operation, queue_size=1) as engine:
        assert not engine.is_full()
        calls = await fill(engine, first.operation)
        assert not engine.is_full()
        calls += await fill(engine, second.operation)
        assert engine.is_full()
        first.go.set()
        second.go.set()
        await asyncio.gather(*calls)


@pytest.mark.parametrize(
    "kind", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError]
)
async def test_whatever_is_raised_is_a_handler_error(kind: type[BaseException]) -> None:
    """An exception of any class is a 500 for the caller, and the lane goes on."""

    async def run(argument: str) -> str:
        if argument == "fail":
            raise kind
        return argument

    operation = operation_on("fail", run, concurrency=1)
    async with running(operation) as engine:
        with pytest.raises(HandlerError):
            await engine.call(operation, "fail")
        assert await engine.call(operation, "next") == "next"


async def test_a_caller_who_leaves_takes_the_running_job_along() -> None:
    """A cancelled call cancels its async operation, and the lane goes on."""
    counter = Counter(1)
    async with running(counter.operation) as engine:
        call = asyncio.create_task(engine.call(counter.operation, 0))
        await settle()
        call.cancel()
        await settle()
        assert counter.inside == 0
        counter.go.set()
        assert await engine.call(counter.operation, 1) == 1


async def test_a_caller_who_leaves_the_queue_is_never_run() -> None:
    """A call that is cancelled while it waits is never run."""
    counter = Counter(1)
    async with running(counter.operation) as engine:
        calls = [asyncio.create_task(engine.call(counter.operation, n)) for n in range(3)]
        await settle()
        calls[1].cancel()
        counter.go.set()
        assert await calls[2] == 2
        assert counter.ran == [0, 2]


async def test_a_job_that_is_called_off_at_the_head_of_the_line_is_never_run() -> None:
    """A job that nobody wants when its turn comes is skipped, and the next one runs."""
    counter = Counter(1)
    counter.go.set()
    jobs = JobQueue(Capacity(2))
    first, second = (
        Job(counter.operation, n, asyncio.get_running_loop().create_future()) for n in range(2)
    )
    for job in (first, second):
        jobs.put_nowait(job)
    first.call_off(ClientLeft())
    lane = asyncio.create_task(LoopWorker(counter.operation, jobs, Job.settle, UNUSED).run())
    assert await second.future == 1
    assert counter.ran == [1]
    lane.cancel()


async def test_a_job_whose_deadline_passes_before_its_timer_is_never_run() -> None:
    """The clock decides when its turn comes, not the timer, which a busy loop calls late."""
    counter = Counter(1)
    now = 0.0
    engine = Engine([counter.operation], limits=Limits(), lifecycle=Lifecycle(), clock=lambda: now)
    await engine.start(NOTHING)
    first = asyncio.create_task(engine.call(counter.operation, 0))
    second = asyncio.create_task(engine.call(counter.operation, 1, deadline=10.0))
    await settle()
    now = 20.0
    counter.go.set()
    with pytest.raises(DeadlineExceeded):
        await second
    assert (await first, counter.ran) == (0, [0])
    await engine.stop()


async def test_the_end_of_the_grace_period_takes_what_runs_and_what_waits() -> None:
    """After the grace period, async operations are cancelled and their callers get Draining."""
    counter = Counter(1)
    async with running(counter.operation, grace_period=0.02) as engine:
        calls = [asyncio.create_task(engine.call(counter.operation, n)) for n in range(3)]
        await settle()
        await engine.stop()
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Draining] * 3
    assert counter.inside == 0


async def test_the_stop_waits_for_an_operation_that_is_slow_to_end() -> None:
    """After the stop, nothing of the engine runs on the loop, even if an operation ends slowly."""
    ended = []

    async def run(_: Any) -> None:
        for _ in range(4):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        ended.append(asyncio.current_task())

    operation = operation_on("deaf", run, concurrency=1)
    async with running(operation, grace_period=0.005) as engine:
        call = asyncio.create_task(engine.call(operation, None))
        await settle()
        await engine.stop()
        assert isinstance(call.exception(), Draining)
        assert len(ended) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_retry_after_counts_those_that_run_at_a_time() -> None:
    """If four jobs run at a time, a queue of eight takes as long as two jobs."""
    counter = Counter(4)
    counter.operation.service_time.add(2.0)
    async with running(counter.operation, queue_size=8) as engine:
        calls = [asyncio.create_task(engine.call(counter.operation, n)) for n in range(4)]
        await settle()
        calls += [asyncio.create_task(engine.call(counter.operation, n)) for n in range(8)]
        await settle()
        with pytest.raises(QueueFull) as refused:
            await engine.call(counter.operation, 12)
        assert refused.value.retry_after == 4
        counter.go.set()
        await asyncio.gather(*calls)


async def test_retry_after_counts_only_those_of_the_lane() -> None:
    """However many jobs wait for the GPU thread, a lane tells how long its own queue takes."""
    gate, counter = Gate(), Counter(1)
    gate.operation.service_time.add(50.0)
    counter.operation.service_time.add(2.0)
    async with running(gate.operation, counter.operation, queue_size=3) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, n)) for n in range(3)]
        calls += [asyncio.create_task(engine.call(counter.operation, 0))]
        await settle()
        calls += [asyncio.create_task(engine.call(counter.operation, n)) for n in range(3)]
        await settle()
        with pytest.raises(QueueFull) as refused:
            await engine.call(counter.operation, 4)
        assert refused.value.retry_after == 6
        counter.go.set()
        gate.open(3)
        await asyncio.gather(*calls)


async def test_measures_each_job() -> None:
    """The operation's service time is measured."""
    counter = Counter(1)
    counter.go.set()
    async with running(counter.operation) as engine:
        await engine.call(counter.operation, 0)
    assert counter.operation.service_time.mean is not None
