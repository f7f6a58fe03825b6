"""However a stream is ended, its call is closed once, on the GPU thread."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from support.engine import running
from support.operations import operation_on
from support.worker import Script, Thread, streaming, take_now

from potassium.engine import State, Stream
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.stream import BUFFER
from potassium.errors import ClientLeft, HandlerError, WorkerFailed


class Poison(Exception):
    """An error that leaves the accelerator unusable."""


@pytest.fixture
def thread() -> Thread:
    return Thread(is_fatal=lambda error: isinstance(error, Poison))


def leave(job: Job) -> Callable[[], None]:
    return lambda: job.call_off(ClientLeft())


def poison() -> None:
    raise Poison


@pytest.mark.parametrize("entry", ["a0", "a1", "p"])
async def test_one_that_is_called_off_is_closed_instead_of_its_next_step(
    thread: Thread, entry: str
) -> None:
    """Calling a stream off, during a step or between two, ends it once."""
    operation = streaming()
    stream = thread.stream("a", operation, *[1] * 9)
    thread.during[entry] = leave(stream)
    log = thread.run([stream], [thread.plain("p", streaming())], [thread.stream("b", operation)])
    expected = {"a0": ["a0", "p"], "a1": ["a0", "p", "a1"], "p": ["a0", "p"]}
    assert sorted(log) == sorted([*expected[entry], "a closed", "b ends"])
    assert thread.names == {"potassium-gpu"}
    assert operation.open_streams == 0


async def test_one_that_is_called_off_before_its_first_step_is_closed(thread: Thread) -> None:
    """If the caller leaves while the call opens its stream, none of its steps runs."""
    stream = thread.stream("a", streaming(), 1)
    thread.during["p"] = leave(stream)
    assert thread.run([stream, thread.plain("p", streaming())]) == ["p", "a closed"]


async def test_one_that_is_called_off_while_it_stalls_is_closed(thread: Thread) -> None:
    """A stalled stream whose reader does not come back is closed when that reader leaves."""
    operation, other = streaming(), streaming()
    stream = thread.stream("a", operation, BUFFER, 1)
    thread.during["q"] = leave(stream)
    log = thread.run([stream], *([thread.plain(name, other)] for name in "pqr"))
    assert log == ["a0", "p", "q", "r", "a closed"]
    assert operation.open_streams == 0


async def test_one_that_stalls_is_closed_though_its_place_is_taken(thread: Thread) -> None:
    """Closing needs no slot: it does not wait for the stream that took the slot."""
    operation = streaming()
    stream = thread.stream("a", operation, BUFFER, 1)
    thread.during["b1"] = leave(stream)
    log = thread.run([stream], [thread.stream("b", operation, *[1] * 9)])
    assert log.index("a closed") < log.index("b3")
    assert "a1" not in log
    assert operation.open_streams == 0


async def test_a_call_that_never_began_is_dropped(thread: Thread) -> None:
    """A call that is called off while it waits for a slot is neither run nor closed."""
    operation = streaming()
    waiting = thread.stream("b", operation, 1)
    thread.during["a1"] = leave(waiting)
    jobs = [thread.stream("a", operation, 1, 1), waiting, thread.stream("c", operation)]
    assert thread.run(jobs) == ["a0", "a1", "a ends", "c ends"]
    assert operation.open_streams == 0


async def test_one_that_ended_by_itself_is_not_closed(thread: Thread) -> None:
    """Calling off a stream that has ended by itself changes nothing on the thread."""
    stream = thread.stream("a", streaming(), 1)
    thread.during = {"a ends": leave(stream), "p": leave(stream)}
    log = thread.run([stream], *([thread.plain(name, streaming())] for name in "opq"))
    assert log == ["a0", "o", "a ends", "p", "q"]


async def test_stop_closes_what_is_open(thread: Thread) -> None:
    """Streams that take turns, have stalled or wait to come back are closed once; none goes on."""
    operation = streaming(2)
    sizes = {"a": [BUFFER, 1], "b": [BUFFER, 1], "c": [1] * 9, "d": [1] * 9, "e": [1]}
    jobs = [thread.stream(name, operation, *sizes[name]) for name in sizes]
    thread.during = {"c0": lambda: take_now(jobs[0]), "d0": thread.worker.stop}
    thread.run(jobs)
    assert sorted(thread.log[-4:]) == [f"{name} closed" for name in "abcd"]
    assert {entry[0] for entry in thread.log} == set("abcd")
    assert thread.names == {"potassium-gpu"}


async def test_after_a_fatal_error_no_stream_makes_a_step(thread: Thread) -> None:
    """The streams beside the one that poisoned the accelerator are closed and fail."""
    operation = streaming(2)
    thread.during["a1"] = poison
    first, second = (thread.stream(name, operation, 1, 1, 1) for name in "ab")
    assert thread.run([first, second]) == ["a0", "b0", "a1", "b closed"]
    assert second.stream is not None
    assert isinstance(second.stream.failure, Failure)
    assert isinstance(second.stream.failure.error, WorkerFailed)


async def test_after_a_fatal_error_calls_that_waited_fail(thread: Thread) -> None:
    """A call that waits for the slot of a stream that failed fatally is not run."""
    operation = streaming()
    thread.during["a1"] = poison
    waiting = thread.plain("p", operation)
    assert thread.run([thread.stream("a", operation, 1, 1), waiting]) == ["a0", "a1"]
    assert isinstance(waiting.outcome.error, WorkerFailed)


async def test_a_fatal_error_in_a_step_fails_the_engine() -> None:
    """The stream itself ends with its error, later calls are refused, and the thread ends."""
    log: list[str] = []

    def write(entry: str) -> None:
        log.append(entry)
        if entry == "a0":
            raise Poison

    operation = operation_on("poison", lambda _: Script(write, "a", [1]), may_stream=True)
    async with running(operation, is_fatal=lambda error: isinstance(error, Poison)) as engine:
        with pytest.raises(HandlerError):
            await engine.call(operation, None)
        with pytest.raises(WorkerFailed):
            await engine.call(operation, None)
        assert engine.lifecycle.state is State.FAILED
    assert log == ["a0"]


async def test_the_stop_of_an_engine_that_failed_ends_its_thread() -> None:
    """Stopping a failed engine ends its thread, even without async operations."""
    operation = streaming()
    async with running(operation) as engine:
        engine.fail("tested")
        await engine.stop()
        assert "potassium-gpu" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("how", ["released", "called off", "the grace is over"])
async def test_a_reader_who_leaves_has_the_call_closed_on_the_gpu_thread(how: str) -> None:
    """Whoever ends a stream of a running engine, its close() runs once, on the GPU thread."""
    closed: list[str] = []
    is_closed = threading.Event()

    def write(entry: str) -> None:
        if entry.endswith("closed"):
            closed.append(threading.current_thread().name)
            is_closed.set()

    operation = operation_on(
        "endless", lambda _: Script(write, "a", range(1 << 30)), may_stream=True
    )
    async with running(operation, grace_period=0.01) as engine:
        job = engine.admit(operation, None)
        stream = await engine.outcome(job)
        assert type(stream) is Stream
        assert await stream.take()
        if how == "called off":
            engine.call_off(job, ClientLeft())
        elif how == "the grace is over":
            engine.drain()
            await asyncio.sleep(0.02)
        engine.release(stream)
        assert await asyncio.to_thread(is_closed.wait, 5)
        assert not engine.calls
        assert engine.calls.counts.cancelled == 1
    assert closed == ["potassium-gpu"]
