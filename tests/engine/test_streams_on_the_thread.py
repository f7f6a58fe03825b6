"""Streams take turns on the GPU thread, with one another and with everything else."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import pytest
from support.engine import running
from support.moments import at_moment
from support.operations import operation_on
from support.worker import Script, Thread, streaming, take_now

from potassium.config import Batch, Limits
from potassium.engine.bridge import Bridge
from potassium.engine.job import Job
from potassium.engine.push_room import PushRoom
from potassium.engine.rounds import Rounds
from potassium.engine.service_time import SMOOTHING
from potassium.engine.stream import BUFFER
from potassium.engine.worker import Worker
from potassium.errors import ClientLeft, UsageError


@pytest.fixture
def thread() -> Thread:
    return Thread()


async def test_streams_make_one_step_each_in_turn(thread: Thread) -> None:
    """In each round every stream makes one step, in the order in which they began."""
    operation = streaming(3)
    log = thread.run([thread.stream(name, operation, 1, 1) for name in "abc"])
    assert log == ["a0", "b0", "c0", "a1", "b1", "c1", "a ends", "b ends", "c ends"]


async def test_by_default_a_second_stream_waits(thread: Thread) -> None:
    """With streams=1, a stream begins when the one before it has ended."""
    operation = streaming()
    log = thread.run([thread.stream("a", operation, 1, 1)], [thread.stream("b", operation, 1)])
    assert log == ["a0", "a1", "a ends", "b0", "b ends"]


async def test_as_many_take_turns_as_the_operation_has_streams(thread: Thread) -> None:
    """With streams=2, the third stream begins when one of the first two has ended."""
    operation = streaming(2)
    jobs = [
        thread.stream(name, operation, *sizes)
        for name, sizes in zip("abc", ([1], [1] * 3, [1]), strict=True)
    ]
    log = thread.run(jobs)
    assert log == ["a0", "b0", "a ends", "b1", "b2", "c0", "b ends", "c ends"]


async def test_each_operation_has_places_of_its_own(thread: Thread) -> None:
    """Streams of one operation do not make those of another one wait."""
    first, second = streaming(), streaming()
    second.may_stream = True
    log = thread.run([thread.stream("a", first, 1, 1)], [thread.stream("b", second, 1)])
    assert log.index("b0") < log.index("a ends")


async def test_ordinary_jobs_take_their_turn(thread: Thread) -> None:
    """Between two rounds of steps one group is run, however long the streams last."""
    operation, other = streaming(), streaming()
    stream = thread.stream("a", operation, *[1] * 9)
    log = thread.run([stream], [thread.plain("p", other)], [thread.plain("q", other)])
    assert log[:5] == ["a0", "p", "a1", "q", "a2"]


async def test_batches_take_their_turn(thread: Thread) -> None:
    """Between two rounds of steps a batch is run, too."""
    batched = operation_on(
        "batch", lambda items: enumerate(map(thread.write, items)), batch=Batch()
    )
    stream = thread.stream("a", streaming(), 1, 1, 1)
    log = thread.run([stream], [thread.job(batched, name) for name in "pq"])
    assert log[:4] == ["a0", "p", "q", "a1"]


async def test_a_call_of_an_operation_that_streams_need_not(thread: Thread) -> None:
    """A call that waited for a slot, and then returns, leaves the slot to the next one."""
    operation = streaming()
    jobs = [
        thread.stream("a", operation, 1),
        thread.plain("p", operation),
        thread.plain("q", operation),
        thread.stream("b", operation, 1),
    ]
    assert thread.run(jobs) == ["a0", "a ends", "p", "q", "b0", "b ends"]
    assert operation.open_streams == 0


async def test_a_call_that_waited_and_returned_is_not_at_work_any_more(thread: Thread) -> None:
    """After a call that waited for a slot and returned, the thread has no current job."""
    operation = streaming()
    thread.run([thread.stream("a", operation, 1), thread.plain("p", operation)])
    assert thread.worker.current is None


async def test_an_operation_may_turn_out_to_stream(thread: Thread) -> None:
    """If a group's jobs turn out to stream, one begins, the rest wait, and all are run."""
    operation = streaming()
    jobs = [thread.stream(f"{number}:", operation) for number in range(1000)]
    log = thread.run([thread.stream("a", operation, 1), *jobs])
    assert log == ["a0", "a ends", *(f"{number}: ends" for number in range(1000))]
    assert operation.may_stream
    assert operation.open_streams == 0
    assert thread.ended == 1


async def test_a_stream_that_is_not_read_gives_its_place_away(thread: Thread) -> None:
    """A stream with a full buffer leaves its slot to the next; once it is read, both go on."""
    operation = streaming()
    slow = thread.stream("a", operation, BUFFER, 1)
    thread.during["b1"] = lambda: take_now(slow)
    log = thread.run([slow], [thread.stream("b", operation, 1, 1, 1, 1)])
    assert log == ["a0", "b0", "b1", "b2", "a1", "b3", "a ends", "b ends"]
    assert operation.open_streams == 0


async def test_a_stream_goes_on_as_soon_as_it_is_read(thread: Thread) -> None:
    """If its slot is free, a stalled stream makes its next step once there is room."""
    slow, other = thread.stream("a", streaming(), BUFFER, 1), streaming()
    thread.during["q"] = lambda: take_now(slow)
    log = thread.run([slow], *([thread.plain(name, other)] for name in "pqrs"))
    assert log[:5] == ["a0", "p", "q", "r", "s"]
    assert log[5:] == ["a1", "a ends"]


async def test_a_stream_that_is_read_in_the_last_moment_does_not_stall(thread: Thread) -> None:
    """A stream that has room again by the time of its next step makes that step."""
    slow = thread.stream("a", streaming(), BUFFER, BUFFER, 1)
    other = streaming()
    thread.during["p"] = thread.during["q"] = lambda: take_now(slow)
    log = thread.run([slow], [thread.plain("p", other)], [thread.plain("q", other)])
    assert log == ["a0", "p", "a1", "q", "a2", "a ends"]


async def test_a_stream_that_is_read_while_it_stalls_goes_on() -> None:
    """If the reader makes room at any moment during a step, the stream goes on."""
    for moment in range(1, 1000):
        thread = Thread()
        stream = thread.stream("a", streaming(), BUFFER, 1)
        taken: list[bytes] = []

        def take(stream: Job = stream, taken: list[bytes] = taken) -> None:
            if not taken and stream.stream is not None and stream.stream.was_begun:
                taken += take_now(stream) or []

        thread.during["q"] = take  # if the moment was before there was anything to take
        with at_moment(moment, Rounds._step.__code__, take) as came:
            log = thread.run([stream], *([thread.plain(name, streaming())] for name in "pq"))
        assert "a ends" in log
        if not came:
            return


async def test_open_streams_are_counted(thread: Thread) -> None:
    """An operation knows how many of its streams are open, and how many of those have stalled."""
    operation = streaming(2)
    counts = []
    slow = thread.stream("a", operation, BUFFER, 1)
    for entry in ("b0", "b2", "a1"):
        thread.during[entry] = lambda: counts.append(
            (operation.open_streams, operation.stalled_streams)
        )
    thread.during["b3"] = lambda: take_now(slow)
    thread.run([slow, thread.stream("b", operation, *[1] * 9)])
    assert counts == [(2, 0), (2, 1), (2, 0)]
    assert (operation.open_streams, operation.stalled_streams) == (0, 0)


async def test_streams_that_are_not_read_make_room_for_only_as_many_more(thread: Thread) -> None:
    """With streams=1, two may be open; the third begins when one of them has ended."""
    operation, other = streaming(), streaming()
    first, second = (thread.stream(name, operation, BUFFER, 1) for name in "ab")
    third = thread.stream("c", operation, 1)
    thread.during = {"s": lambda: take_now(first), "c0": lambda: take_now(second)}
    log = thread.run([first], [second], [third], *([thread.plain(name, other)] for name in "pqrs"))
    assert log == ["a0", "b0", *"pqrs", "a1", "a ends", "c0", "c ends", "b1", "b ends"]
    assert (operation.open_streams, operation.stalled_streams, operation.parked_jobs) == (0, 0, 0)


async def test_however_many_do_not_read_few_generators_are_alive() -> None:
    """With streams=2, four of twenty calls have begun, no other call waits, and all get a turn."""
    log: list[str] = []
    operation = operation_on(
        "stream",
        lambda name: Script(log.append, name, [BUFFER] * 9),
        streams=2,
        may_stream=True,
    )
    echo = operation_on("echo", lambda argument: argument)
    async with running(operation, echo) as engine:
        jobs = deque(engine.admit(operation, f"{number}:") for number in range(20))
        begun = 4
        while jobs:
            outcomes = [await engine.outcome(jobs.popleft()) for _ in range(4)]
            for _ in range(10):  # time for another one to begin
                assert await engine.call(echo, 1) == 1
            assert sum(entry.endswith(":0") for entry in log) == begun
            for stream in outcomes:
                engine.release(stream)
            begun += 4
    assert sum(entry.endswith("closed") for entry in log) == 20


async def test_one_that_is_cut_off_makes_room(thread: Thread) -> None:
    """If two that nobody reads keep a third one waiting, the end of one of them lets it begin."""
    operation, other = streaming(), streaming()
    first, second = (thread.stream(name, operation, BUFFER, 1) for name in "ab")
    thread.during = {
        "p": lambda: first.call_off(ClientLeft()),
        "c0": lambda: second.call_off(ClientLeft()),
    }
    log = thread.run(
        [first], [second], [thread.stream("c", operation, 1)], [thread.plain("p", other)]
    )
    assert log == ["a0", "b0", "p", "a closed", "c0", "c ends", "b closed"]


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_whatever_a_step_raises_ends_that_stream_alone(
    thread: Thread, kind: type[BaseException]
) -> None:
    """The error ends only its own stream, which is not closed too; the other one goes on."""
    operation = streaming(2)

    def fail() -> None:
        raise kind

    thread.during["a1"] = fail
    failing = thread.stream("a", operation, 1, 1, 1)
    log = thread.run([failing, thread.stream("b", operation, 1, 1)])
    assert log == ["a0", "b0", "a1", "b1", "b ends"]
    assert failing.stream is not None
    assert failing.stream.failure is not None
    assert isinstance(failing.stream.failure.error, kind)
    assert operation.open_streams == 0


async def test_an_error_in_closing_concerns_nobody(
    thread: Thread, caplog: pytest.LogCaptureFixture
) -> None:
    """What a generator raises when it is closed is logged, and the thread goes on."""
    operation = streaming()
    stream = thread.stream("a", operation, 1, 1)

    def fail() -> None:
        raise ValueError

    thread.during = {"a0": lambda: stream.call_off(ClientLeft()), "a closed": fail}
    assert thread.run([stream, thread.stream("b", operation)]) == ["a0", "a closed", "b ends"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_only_a_step_is_work_in_progress(thread: Thread) -> None:
    """However long a stream lasts, the thread's current work began with the step."""
    stream = thread.stream("a", streaming(), *[1] * 5)
    ages = []

    def look() -> None:
        assert thread.worker.current is stream
        ages.append(thread.clock.now - thread.worker.since)
        thread.clock.now += 60

    for number in range(5):
        thread.during[f"a{number}"] = look
    thread.run([stream])
    assert ages == [0] * 5
    assert thread.worker.current is None


async def test_each_second_of_work_counts_once(thread: Thread) -> None:
    """The thread was busy, and the stream lasted, for as long as calls and steps took."""
    operation = streaming()

    def take_time() -> None:
        thread.clock.now += 1

    def open_slowly() -> Script:
        take_time()
        return Script(thread.write, "a", [1, 1])

    for entry in ("a0", "a1", "a ends", "p"):
        thread.during[entry] = take_time
    thread.run([thread.job(operation, open_slowly), thread.plain("p", operation)])
    assert thread.worker.busy == 5
    assert thread.worker.since == thread.clock.now
    assert operation.service_time.floor == 1
    assert operation.service_time.mean == pytest.approx(4 - SMOOTHING * 3)


async def test_a_handler_that_has_returned_opens_no_stream() -> None:
    """A thread of its own that sends a moment too late gets an error, not a stream without end."""
    ran: list[str] = []
    late: list[UsageError] = []
    operation = operation_on("plain", lambda _: ran.append("plain"))
    job = Job(operation, None, asyncio.get_running_loop().create_future())

    def clock() -> float:
        if ran:  # between the return of the handler and whatever comes after it
            with pytest.raises(UsageError) as caught:
                worker.open_stream(job)
            late.append(caught.value)
        return 0.0

    def over(_: Sequence[Job], ends: bool) -> None:
        assert ends
        worker.stop()

    worker: Worker = Worker(over, Bridge(_at_once, lambda _: None), PushRoom(Limits()), clock=clock)
    worker.hand_over([job])
    worker.run()
    assert late
    assert (job.stream, job.outcome) == (None, None)


def _at_once(callback: Callable[[], object]) -> None:
    callback()
