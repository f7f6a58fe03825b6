"""The heartbeat: idle, busy and stuck, and for how long nothing has moved."""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.operations import operation_on
from support.worker import Thread, streaming

from potassium.config import Batch
from potassium.engine import Activity, Heartbeat, Job, Operation
from potassium.engine.heartbeat import SHORTEST, UNKNOWN, USUAL, Pulse
from potassium.engine.push_room import PushShare
from potassium.engine.side_pool import SidePool
from potassium.engine.stream import BUFFER

IDLE = Heartbeat(Activity.IDLE, 0.0)


def busy(seconds: float) -> Heartbeat:
    return Heartbeat(Activity.BUSY, seconds)


def stuck(seconds: float) -> Heartbeat:
    return Heartbeat(Activity.STUCK, seconds)


class Bench:
    """Threads that run on the test's own, and what their heartbeat is at each look."""

    def __init__(self, hang_timeout: float | None = None) -> None:
        self.thread = Thread()
        clock = self.thread.clock
        self.pool = SidePool(1, _at_once, prepared=_ignore, finished=_ignore, clock=clock)
        self.pulse = Pulse(self.thread.worker, self.pool, hang_timeout, clock=clock)
        self.beats: list[Heartbeat] = []

    def look(self, seconds: float = 0.0) -> None:
        """Let time pass, and look."""
        self.thread.clock.now += seconds
        self.beats.append(self.pulse.beat())

    def looks(self, *seconds: float) -> Callable[[Any], None]:
        """Return a function that looks each time that so much has passed."""

        def run(_: Any) -> None:
            for each in seconds:
                self.look(each)

        return run

    def run(self, operation: Operation, times: int = 1) -> None:
        """Run jobs one after the other, as one group."""
        self.thread.run([self.thread.job(operation, None) for _ in range(times)])


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_nothing_to_do_is_idle_however_long_it_lasts(bench: Bench) -> None:
    """No progress is due, so none is missing."""
    bench.look(3600)
    bench.run(operation_on("work", lambda _: None))
    bench.look(3600)
    assert bench.beats == [IDLE, IDLE]


async def test_a_call_that_runs_is_busy(bench: Bench) -> None:
    """The seconds are those since it began; the next call begins anew."""
    bench.run(operation_on("work", bench.looks(0, 30)), times=2)
    assert bench.beats == [busy(0), busy(30)] * 2


async def test_a_call_is_stuck_after_hang_timeout() -> None:
    """If the app says how long is too long, that holds for every handler."""
    bench = Bench(hang_timeout=5)
    bench.run(operation_on("work", bench.looks(5, 1)))
    assert bench.beats == [busy(5), stuck(6)]


@pytest.mark.parametrize(
    ("usual", "patience"), [(None, UNKNOWN), (0.02, SHORTEST), (100, USUAL * 100)]
)
async def test_otherwise_what_is_usual_says_when_a_call_is_stuck(
    bench: Bench, usual: float | None, patience: float
) -> None:
    """A training of hours is not stuck after a minute, and a call of milliseconds is."""
    operation = operation_on("work", bench.looks(patience, 1))
    if usual is not None:
        operation.service_time.add(usual)
    bench.run(operation)
    assert bench.beats == [busy(patience), stuck(patience + 1)]


async def test_a_batch_may_take_as_long_as_its_items(bench: Bench) -> None:
    """What is measured is the time for each item; each one that is done is progress."""
    batch = Batch(max_size=4)

    def run(arguments: list[Any]) -> Iterator[tuple[int, None]]:
        bench.look(USUAL * 100 * 4)
        for index, _ in enumerate(arguments):
            yield index, None
            bench.look(1)

    operation = operation_on("batch", run, batch=batch)
    operation.service_time.add(100)
    bench.run(operation, times=2)
    assert bench.beats == [busy(USUAL * 100 * 4), busy(1), busy(1)]


async def test_each_step_of_a_stream_is_progress(bench: Bench) -> None:
    """A stream may last for hours; the seconds are those of the step."""
    stream = bench.thread.stream("a", streaming(), *[1] * 5)
    for number in range(5):
        bench.thread.during[f"a{number}"] = lambda: bench.look(500)
    bench.thread.run([stream])
    assert bench.beats == [busy(500)] * 5


async def test_between_two_steps_a_stream_is_busy(bench: Bench) -> None:
    """A look at the wrong moment does not find an idle server."""
    streams = [bench.thread.stream(name, streaming(2), 1, 1) for name in "ab"]
    rounds = bench.thread.worker._rounds
    run_round = rounds.run

    def watched() -> None:
        bench.look()
        run_round()

    rounds.run = watched  # type: ignore[method-assign]
    bench.thread.run(streams)
    assert set(bench.beats) == {busy(0)}


async def test_a_slow_reader_of_a_stream_is_not_stuck(bench: Bench) -> None:
    """The stream gives its turns away: nothing is under way, and the reader has its own limit."""
    stream = bench.thread.stream("a", streaming(), BUFFER, 1)
    report = bench.thread.worker._report

    def stalled(jobs: Sequence[Job], ended: bool) -> None:
        if stream.stream is not None and stream.stream.has_stalled:
            bench.look(3600)
            assert stream.stream is not None
            stream.stream._take_some()  # the reader comes back
        report(jobs, ended)

    bench.thread.worker._report = stalled
    bench.thread.run([stream])
    assert bench.beats == [IDLE]


async def test_a_handler_that_pushes_chunks_makes_progress(bench: Bench) -> None:
    """However long it runs, each chunk shows that it goes on."""

    def run(job: Job) -> None:
        stream = bench.thread.worker.open_stream(job)
        for _ in range(3):
            bench.look(500)
            stream.send(b"x")
        bench.look(1)

    bench.thread.run([bench.thread.job(Operation("push", run), None)])
    assert bench.beats == [busy(500)] * 3 + [busy(1)]


async def test_a_handler_that_waits_for_its_reader_is_not_stuck(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That has a time limit of its own; when it is over, the time begins anew."""

    def wait(*_: Any, **__: Any) -> bool:
        bench.look(3600)
        return True

    monkeypatch.setattr(PushShare, "wait", wait)

    def run(job: Job) -> None:
        bench.thread.worker.open_stream(job).send(b"x" * BUFFER)
        bench.look(1)

    bench.thread.run([bench.thread.job(Operation("push", run), None)])
    assert bench.beats == [busy(0), busy(1)]


async def test_what_an_earlier_call_still_does_is_no_progress(bench: Bench) -> None:
    """A thread that it left behind must not hide that the next call hangs."""
    earlier = bench.thread.job(operation_on("earlier", lambda _: None), None)
    worker = bench.thread.worker

    def run(_: Any) -> None:
        bench.look(UNKNOWN + 1)
        worker.note_progress(earlier)
        bench.look()

    bench.thread.run([earlier], [bench.thread.job(operation_on("work", run), None)])
    assert bench.beats == [stuck(UNKNOWN + 1)] * 2


async def test_prepared_work_counts(bench: Bench) -> None:
    """The GPU thread has nothing to do meanwhile; how long its calls take says nothing here."""
    step = bench.looks(30, UNKNOWN - 30, 1)
    operation = operation_on("x", lambda _: None, prepare=step, finish=step)
    operation.service_time.add(0.001)
    for give in (bench.pool.prepare, bench.pool.finish):
        job = bench.thread.job(operation, None)
        job.in_pool = True
        give(job)
    bench.pool.stop()
    bench.pool.run()
    bench.look()
    assert bench.beats == [busy(30), busy(UNKNOWN), stuck(UNKNOWN + 1)] * 2 + [IDLE]


async def test_one_step_that_hangs_is_not_hidden_by_others(bench: Bench) -> None:
    """The seconds are those of the step that has made no progress for the longest."""
    inner = operation_on("inner", lambda _: None)

    def step(_: Any) -> None:
        bench.thread.clock.now += UNKNOWN
        bench.run(operation_on("work", bench.looks(1)))

    bench.pool.prepare(bench.thread.job(operation_on("x", lambda _: None, prepare=step), inner))
    bench.pool.stop()
    bench.pool.run()
    assert bench.beats == [stuck(UNKNOWN + 1)]


def _at_once(callback: Callable[[], object]) -> None:
    callback()


def _ignore(_: Job) -> None: ...


async def test_what_the_thread_does_now_is_busy_time_also_within_a_group_or_a_batch(
    bench: Bench,
) -> None:
    """The thread sums up at the end of a group; nobody who asks has to wait for that."""
    seconds: list[float] = []

    def work(_: Any) -> None:
        bench.look(10)
        seconds.append(bench.pulse.busy_seconds())

    def batch(items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for index, item in enumerate(items):
            work(item)
            yield index, item

    bench.run(operation_on("work", work), times=3)
    assert seconds == [10, 20, 30]
    batched = operation_on("batch", batch, batch=Batch(max_size=3))
    bench.run(batched, times=3)
    assert seconds[3:] == [40, 50, 60]
    bench.look(100)
    assert bench.pulse.busy_seconds() == 60


def test_busy_time_does_not_fall_or_leap_as_a_step_ends() -> None:
    """The thread may end one at the very moment of a look."""

    class Ending:
        """A worker whose step of ten seconds ends between two looks at its figures."""

        busy = 0.0

        @property
        def busy_since(self) -> float | None:
            self.busy = 10.0
            return since.pop()

    since: list[float | None] = [None, 20.0]  # the next step begins as well; then nothing runs
    now = 25.0
    pulse = Pulse(cast("Any", Ending()), cast("Any", None), None, clock=lambda: now)
    assert pulse.busy_seconds() == 5.0  # not 15, of which 10 would be those of the first step
    assert pulse.busy_seconds() == 10.0


def test_busy_time_never_falls() -> None:
    """A look may miss a step that ends at that moment, but not go back behind what was shown."""
    worker = SimpleNamespace(busy=0.0, busy_since=0.0)
    pulse = Pulse(cast("Any", worker), cast("Any", None), None, clock=lambda: 10.0)
    assert pulse.busy_seconds() == 10.0
    worker.busy_since = None
    assert pulse.busy_seconds() == 10.0
