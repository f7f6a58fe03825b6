"""The engine as a whole, on real threads."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio.from_thread
import pytest
from support.engine import NOTHING, Gate, running, thread_of
from support.operations import operation_on
from support.threads import gpu_threads

from potassium import Limits
from potassium.engine import Engine, Job, Lifecycle, State
from potassium.errors import (
    ClientLeft,
    Draining,
    HandlerError,
    InvalidInput,
    QueueFull,
    Starting,
    Unavailable,
    UsageError,
    WorkerFailed,
)


async def test_everything_runs_on_one_thread() -> None:
    """init and 1 000 calls of two operations run on the same thread, named potassium-gpu."""
    seen: set[threading.Thread] = set()
    note = lambda _: seen.add(threading.current_thread())  # noqa: E731
    first, second = operation_on("a", note), operation_on("b", note)
    async with running(first, second, init=operation_on("init", note)) as engine:
        for _ in range(10):
            calls = [engine.call(operation, None) for operation in (first, second) * 50]
            await asyncio.gather(*calls)
        assert [thread.name for thread in seen] == ["potassium-gpu"]
        assert engine.calls.counts.succeeded == 1000


async def test_handlers_can_call_back_into_the_loop() -> None:
    """anyio.from_thread.run works inside an operation."""

    async def on_the_loop(value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    operation = operation_on("call back", lambda value: anyio.from_thread.run(on_the_loop, value))
    async with running(operation) as engine:
        assert await engine.call(operation, 1) == 2


async def test_results_go_to_their_own_callers() -> None:
    """Each of a thousand simultaneous calls gets the result of its own argument."""
    operation = operation_on("echo", lambda argument: argument)
    async with running(operation, queue_size=1000) as engine:
        results = await asyncio.gather(*(engine.call(operation, n) for n in range(1000)))
        assert results == list(range(1000))


async def test_one_call_at_a_time() -> None:
    """Two operations of the GPU thread never run at the same time."""
    inside, most = 0, 0

    def run(_: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.001)
        inside -= 1

    first, second = operation_on("a", run), operation_on("b", run)
    async with running(first, second) as engine:
        await asyncio.gather(*(engine.call(op, None) for op in (first, second) * 10))
        assert most == 1


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
async def test_whatever_is_raised_is_the_cause_of_a_handler_error(
    kind: type[BaseException],
) -> None:
    """The caller gets a HandlerError, and the next call is served."""

    def run(argument: str) -> str:
        if argument == "fail":
            raise kind
        return argument

    operation = operation_on("fail", run)
    async with running(operation) as engine:
        with pytest.raises(HandlerError) as caught:
            await engine.call(operation, "fail")
        assert isinstance(caught.value.__cause__, kind)
        assert await engine.call(operation, "next") == "next"


async def test_errors_meant_for_the_caller_stay_what_they_are() -> None:
    """An operation may raise one of the package's errors to answer the call with it."""

    def run(_: Any) -> None:
        raise InvalidInput("too short")

    operation = operation_on("refuse", run)
    async with running(operation) as engine:
        with pytest.raises(InvalidInput, match="too short"):
            await engine.call(operation, None)


async def test_a_usage_error_is_not_meant_for_the_caller() -> None:
    """The caller gets a mistake in the app's own code as a HandlerError."""

    def run(_: Any) -> None:
        raise UsageError("secret")

    operation = operation_on("mistake", run)
    async with running(operation) as engine:
        with pytest.raises(HandlerError, match=r"^The handler raised an exception\.$"):
            await engine.call(operation, None)


async def test_the_queue_takes_its_limit_beside_the_job_that_runs() -> None:
    """With a limit of 3, three jobs wait behind the running one; the next is refused at once."""
    gate = Gate()
    async with running(gate.operation, queue_size=3) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, 0))]
        await gate.has_begun()
        calls += [asyncio.create_task(engine.call(gate.operation, n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFull) as refused:
            await engine.call(gate.operation, 4)
        assert refused.value.retry_after == 1
        assert engine.calls.counts.refused == 1
        gate.open(4)
        assert await asyncio.gather(*calls) == [0, 1, 2, 3]
        assert engine.capacity.waiting == 0


async def test_of_many_at_once_the_first_does_not_wait_for_an_idle_thread() -> None:
    """With a limit of 3, one of five calls made at the same moment is refused."""
    gate = Gate()
    async with running(gate.operation, queue_size=3) as engine:
        calls = [engine.call(gate.operation, number) for number in range(5)]
        tasks = [asyncio.create_task(call) for call in calls]
        await gate.has_begun()
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks] == [False, False, False, False, True]
        assert isinstance(tasks[4].exception(), QueueFull)
        gate.open(4)
        assert await asyncio.gather(*tasks[:4]) == [0, 1, 2, 3]


@pytest.mark.parametrize(("mean", "seconds"), [(0.0001, 1), (2.0, 6), (1000.0, 60)])
async def test_retry_after_follows_service_time_and_queue(mean: float, seconds: int) -> None:
    """Retry-After is the time that the queue takes: at least 1 s, at most 60 s."""
    gate = Gate()
    gate.operation.service_time.add(mean)
    async with running(gate.operation, queue_size=3) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, 0))]
        await gate.has_begun()
        calls += [asyncio.create_task(engine.call(gate.operation, n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFull) as refused:
            await engine.call(gate.operation, 4)
        assert refused.value.retry_after == seconds
        gate.open(4)
        await asyncio.gather(*calls)


async def test_a_call_that_is_cancelled_while_it_waits_never_runs() -> None:
    """Cancelled jobs are not run, whether in the queue or in the thread's inbox."""
    gate = Gate()
    async with running(gate.operation) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, n)) for n in range(4)]
        await gate.has_begun()
        await asyncio.sleep(0.01)
        for call in calls[1:3]:
            call.cancel()
        await asyncio.sleep(0)
        gate.open(4)
        assert await calls[3] == 3
        assert gate.ran == [0, 3]
        assert engine.calls.counts.cancelled == 2
        assert engine.capacity.waiting == 0


async def test_the_result_of_a_cancelled_call_is_dropped() -> None:
    """If its caller leaves, a running job still ends, and the next call is served."""
    gate = Gate()
    async with running(gate.operation) as engine:
        call = asyncio.create_task(engine.call(gate.operation, 0))
        await gate.has_begun()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.open(2)
        assert await engine.call(gate.operation, 1) == 1


async def test_refuses_before_the_start() -> None:
    """Nothing is admitted before init has finished."""
    operation = operation_on("work", lambda _: None)
    engine = Engine([operation], limits=Limits(), lifecycle=Lifecycle())
    with pytest.raises(Starting):
        await engine.call(operation, None)


async def test_refuses_after_the_stop() -> None:
    """A stopped engine admits nothing."""
    operation = operation_on("work", lambda _: None)
    async with running(operation) as engine:
        pass
    with pytest.raises(Draining):
        await engine.call(operation, None)


async def test_stop_lets_what_was_admitted_end() -> None:
    """On stop, running and waiting calls are answered, new ones refused, and the thread ends."""
    gate = Gate()
    async with running(gate.operation) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, n)) for n in range(5)]
        await gate.has_begun()
        await asyncio.sleep(0.01)
        stop = asyncio.create_task(engine.stop())
        await asyncio.sleep(0.01)
        assert engine.lifecycle.state.value == "draining"
        with pytest.raises(Draining):
            await engine.call(gate.operation, 5)
        gate.open(5)
        await stop
        assert await asyncio.gather(*calls) == gate.ran == list(range(5))
    assert engine.lifecycle.state is State.STOPPED
    assert engine.cut_off == 0


async def test_the_end_of_the_grace_period_takes_the_rest() -> None:
    """After the grace period, callers get Draining; the thread ends when its handler does."""
    gate = Gate()
    async with running(gate.operation, grace_period=0.02) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, n)) for n in range(3)]
        await gate.has_begun()
        stop = asyncio.create_task(engine.stop())
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [Draining] * 3
        assert engine.cut_off == 3
        gate.open(3)
        await stop
    assert gate.ran == [0]


async def test_a_handler_that_never_returns_does_not_keep_the_engine_from_stopping() -> None:
    """After the grace period the thread is left behind, and ends when its handler does."""
    gate = Gate()
    async with running(gate.operation, grace_period=0.02) as engine:
        call = asyncio.create_task(engine.call(gate.operation, 0))
        await gate.has_begun()
        async with asyncio.timeout(5):
            await engine.stop()
        assert isinstance(call.exception(), Draining)
        assert engine.lifecycle.state is State.STOPPED
    gate.open()
    await asyncio.to_thread(wait_until, lambda: not gpu_threads())


async def test_a_call_whose_caller_left_does_not_hold_up_the_drain() -> None:
    """The drain does not wait for a call whose caller has left."""
    gate = Gate()
    async with running(gate.operation) as engine:
        call = asyncio.create_task(engine.call(gate.operation, 0))
        await gate.has_begun()
        call.cancel()
        await asyncio.wait({call})
        engine.drain()
        assert not engine.calls
        gate.open()


async def test_an_engine_that_is_drained_twice_drains_once() -> None:
    """drain() and stop() may be called repeatedly: the engine drains once."""
    async with running(NOTHING) as engine:
        engine.drain()
        engine.drain()
        await engine.stop()
        await engine.stop()
    assert engine.lifecycle.state is State.STOPPED


@pytest.mark.parametrize("end", ["the grace is over", "the engine fails"])
async def test_each_caller_gets_an_error_of_its_own(end: str) -> None:
    """A single error that many callers raise would keep the frames of all of them alive."""
    gate = Gate()
    async with running(gate.operation, grace_period=0.01) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, n)) for n in range(3)]
        await gate.has_begun()
        if end == "the engine fails":
            engine.fail("tested")
        else:
            engine.drain()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        gate.open(3)
    assert [isinstance(error, Unavailable) for error in errors] == [True] * 3
    assert len({id(error) for error in errors}) == 3


async def test_each_caller_who_leaves_leaves_an_error_of_its_own() -> None:
    """Calls whose callers have left do not share the error that their handlers raise."""
    gate = Gate()
    async with running(gate.operation) as engine:
        jobs = [engine.admit(gate.operation, n) for n in range(3)]
        calls = [asyncio.create_task(engine.outcome(job)) for job in jobs]
        await gate.has_begun()
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        gate.open(3)
    assert [type(job.called_off) for job in jobs] == [ClientLeft] * 3
    assert len({id(job.called_off) for job in jobs}) == 3


class Poison(Exception):
    """An error that leaves the accelerator unusable."""


def poison(_: Any) -> None:
    raise Poison


async def test_after_a_fatal_error_nothing_runs_any_more(caplog: pytest.LogCaptureFixture) -> None:
    """The call itself gets its error; waiting and later calls get WorkerFailed at once."""
    ran: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def run(number: int) -> None:
        ran.append(number)
        begun.set()
        assert go.wait(10)
        raise Poison

    operation = operation_on("poison", run)
    is_poison = lambda error: isinstance(error, Poison)  # noqa: E731
    async with running(operation, is_fatal=is_poison) as engine:
        calls = [asyncio.create_task(engine.call(operation, n)) for n in range(5)]
        assert await asyncio.to_thread(begun.wait, 10)
        go.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [HandlerError] + [WorkerFailed] * 4
        with pytest.raises(WorkerFailed):
            await engine.call(operation, 5)
        assert engine.lifecycle.state is State.FAILED
    assert engine.lifecycle.state is State.FAILED
    assert ran == [0]
    assert ["must be restarted" in record.getMessage() for record in caplog.records] == [True]


async def test_a_fatal_error_goes_to_the_call_that_raised_it() -> None:
    """However late the loop hears of the job before it, the call gets its own error."""
    gate, operation = Gate(), operation_on("poison", poison)
    is_poison = lambda error: isinstance(error, Poison)  # noqa: E731
    async with running(gate.operation, operation, is_fatal=is_poison) as engine:
        calls = [asyncio.create_task(engine.call(one, 0)) for one in (gate.operation, operation)]
        await gate.has_begun()
        await asyncio.sleep(0.01)
        gate.open()
        wait_until(lambda: thread_of(engine).worker.fatal is not None)  # while the loop is blocked
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [int, HandlerError]


async def test_after_a_fatal_error_the_rest_of_its_group_does_not_run() -> None:
    """Short jobs that were handed over together with the fatal one are not run after it."""
    ran: list[int] = []

    def run(number: int) -> None:
        ran.append(number)
        if number == 103:
            raise Poison

    operation = operation_on("poison", run)
    is_poison = lambda error: isinstance(error, Poison)  # noqa: E731
    async with running(operation, is_fatal=is_poison) as engine:
        for number in range(100):
            await engine.call(operation, number)
        calls = [engine.call(operation, number) for number in range(100, 110)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert ran == list(range(104))
    assert [type(result) for result in results[4:]] == [WorkerFailed] * 6


async def test_a_thread_that_ends_by_itself_fails_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever ended it, no call waits for a thread that is no longer there."""

    class Fault(BaseException):
        pass

    def is_fatal(_: BaseException) -> bool:
        raise Fault  # not where the thread expects an error

    gate, operation = Gate(), operation_on("poison", poison)
    async with running(gate.operation, operation, is_fatal=is_fatal) as engine:
        calls = [engine.call(one, 0) for one in (gate.operation, operation, gate.operation)]
        tasks = [asyncio.create_task(call) for call in calls]
        await gate.has_begun()
        gate.open()
        async with asyncio.timeout(5):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results[1:]] == [WorkerFailed] * 2
        assert engine.lifecycle.state is State.FAILED
    assert ["potassium-gpu has ended" in record.getMessage() for record in caplog.records] == [True]


async def test_a_handler_that_hangs_fails_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """After hang_timeout the engine is FAILED, and every waiting caller gets WorkerFailed."""
    gate = Gate()
    async with running(gate.operation, hang_timeout=0.05) as engine:
        calls = [asyncio.create_task(engine.call(gate.operation, n)) for n in range(3)]
        async with asyncio.timeout(5):
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [WorkerFailed] * 3
        assert engine.lifecycle.state is State.FAILED
        gate.open()
    assert gate.ran == [0]
    assert ["has not returned" in record.getMessage() for record in caplog.records] == [True]


async def test_handlers_that_come_back_in_time_do_not_hang() -> None:
    """Many calls, each shorter than hang_timeout, are not mistaken for one that hangs."""
    operation = operation_on("short", lambda _: threading.Event().wait(0.01))
    async with running(operation, hang_timeout=0.1) as engine:
        for _ in range(20):
            await engine.call(operation, None)
        await asyncio.sleep(0.05)
        assert engine.lifecycle.state is State.READY


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
async def test_what_init_raises_comes_out_of_start(kind: type[BaseException]) -> None:
    """start() raises the very error that init raised; the engine is FAILED and its thread gone."""
    error = kind("no model")

    def fail(_: None) -> None:
        raise error

    engine = Engine([], limits=Limits(), lifecycle=Lifecycle())
    with pytest.raises(kind) as caught:
        await engine.start(operation_on("init", fail))
    assert caught.value is error
    assert engine.lifecycle.state is State.FAILED
    assert not gpu_threads()


async def test_a_start_that_is_cancelled_releases_the_thread() -> None:
    """If cancelled during init, start() ends once init has ended, and the engine is STOPPED."""
    gate = Gate()
    engine = Engine([], limits=Limits(), lifecycle=Lifecycle())
    start = asyncio.create_task(engine.start(gate.operation))
    await gate.has_begun()
    start.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert engine.lifecycle.state is State.STOPPED


def test_a_loop_that_ends_without_a_stop_ends_the_thread() -> None:
    """If nobody stops the engine, its thread ends with the event loop."""

    async def main() -> None:
        engine = Engine([], limits=Limits(), lifecycle=Lifecycle())
        await engine.start(NOTHING)

    before = threading.active_count()
    asyncio.run(main())
    wait_until(lambda: threading.active_count() <= before)


def test_a_thread_that_outlives_its_loop_ends_without_an_error() -> None:
    """A thread reports what it has run to a closed loop, where nobody is left to be told."""
    ran: list[str] = []
    operation = operation_on("late", ran.append)

    async def main() -> tuple[Engine, Job]:
        async with running(operation) as engine:
            return engine, Job(operation, "late", asyncio.get_running_loop().create_future())

    engine, job = asyncio.run(main())
    thread_of(engine).worker.hand_over([job])
    thread_of(engine).worker.stop()
    thread_of(engine).worker.run()
    assert ran == ["late"]


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come true")


async def test_a_call_does_not_wait_for_a_slow_one_in_its_group() -> None:
    """What is done of a group is known soon, even if the next call turns out to take long."""
    blocker, slow, quick = Gate(), Gate(), operation_on("quick", lambda argument: argument)
    for operation in (slow.operation, quick):
        operation.service_time.add(0.00001)  # short ones, which travel together
    async with running(blocker.operation, slow.operation, quick) as engine:
        first = asyncio.create_task(engine.call(blocker.operation, 1))
        await blocker.has_begun()
        second = asyncio.create_task(engine.call(quick, 2))
        third = asyncio.create_task(engine.call(slow.operation, 3))
        await asyncio.sleep(0)
        blocker.open()
        await slow.has_begun()
        assert await asyncio.wait_for(second, 10) == 2
        assert not third.done()
        slow.open()
        assert (await first, await third) == (1, 3)
