"""The GPU thread."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.operations import operation_on

from potassium.config import Batch, Limits
from potassium.engine.bridge import Bridge
from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.push_room import PushRoom
from potassium.engine.stream import Stream
from potassium.engine.worker import REPORT_INTERVAL, Worker
from potassium.errors import ClientLeft

UNUSED: Bridge[Stream[Job]] = Bridge(lambda _: None, lambda _: None)


class FakeClock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A worker that runs on the test's own thread."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.reports: list[tuple[list[Job], bool]] = []
        self.worker = Worker(self._report, UNUSED, PushRoom(Limits()), clock=self.clock)

    def _report(self, jobs: Sequence[Job], ended: bool) -> None:
        self.reports.append((list(jobs), ended))

    def run(self, *groups: Sequence[Job]) -> None:
        for group in groups:
            self.worker.hand_over(group)
        self.worker.stop()
        self.worker.run()

    def takes(self, seconds: float) -> Callable[[Any], Any]:
        def run(argument: Any) -> Any:
            self.clock.now += seconds
            return argument

        return run


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def jobs_of(operation: Operation, count: int) -> list[Job]:
    loop = asyncio.get_running_loop()
    return [Job(operation, number, loop.create_future()) for number in range(count)]


async def test_outcomes_are_what_the_operation_returned(bench: Bench) -> None:
    """Each job gets the result of its own argument."""
    group = await jobs_of(operation_on("double", lambda argument: argument * 2), 3)
    bench.run(group)
    assert [job.outcome for job in group] == [0, 2, 4]


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
async def test_whatever_is_raised_is_an_outcome(bench: Bench, kind: type[BaseException]) -> None:
    """An exception of any class becomes the job's outcome, and the next job runs."""

    def fail(argument: int) -> int:
        if argument == 0:
            raise kind
        return argument

    group = await jobs_of(operation_on("fail", fail), 2)
    bench.run(group)
    assert isinstance(group[0].outcome, Failure)
    assert isinstance(group[0].outcome.error, kind)
    assert group[1].outcome == 1


async def test_a_group_of_short_jobs_is_reported_once(bench: Bench) -> None:
    """A group whose jobs together took less than the interval is reported once."""
    group = await jobs_of(operation_on("short", bench.takes(REPORT_INTERVAL / 100)), 50)
    bench.run(group)
    assert bench.reports == [(group, True)]


async def test_a_slow_job_does_not_hold_back_those_before_it(bench: Bench) -> None:
    """In a group that turns out slow, finished jobs are reported before the rest runs."""
    group = await jobs_of(operation_on("slow", bench.takes(REPORT_INTERVAL * 2)), 3)
    bench.run(group)
    assert bench.reports == [([group[0]], False), ([group[1]], False), ([group[2]], True)]


async def test_a_cancelled_job_is_skipped_right_before_it_would_run(bench: Bench) -> None:
    """A job that is called off while its group runs is never run."""
    ran: list[int] = []

    def run(argument: int) -> None:
        ran.append(argument)
        group[2].called_off = ClientLeft()

    group = await jobs_of(operation_on("cancel", run), 4)
    bench.run(group)
    assert ran == [0, 1, 3]


async def test_what_was_handed_over_before_the_stop_is_run(bench: Bench) -> None:
    """stop() ends the thread after the groups in its inbox."""
    first = await jobs_of(operation_on("work", bench.takes(0)), 1)
    second = await jobs_of(operation_on("work", bench.takes(0)), 1)
    bench.run(first, second)
    assert [jobs for jobs, _ in bench.reports] == [first, second]


async def test_measures_each_job(bench: Bench) -> None:
    """The operation's service time is what its jobs took by the clock."""
    operation = operation_on("work", bench.takes(0.25))
    bench.run(await jobs_of(operation, 4))
    assert operation.service_time.mean == operation.service_time.floor == 0.25
    assert bench.worker.busy == 1.0


async def test_tells_what_it_is_at(bench: Bench) -> None:
    """While a job runs, it is the current one; afterwards there is none."""
    seen: list[Job | None] = []
    group = await jobs_of(operation_on("look", lambda _: seen.append(bench.worker.current)), 2)
    bench.run(group)
    assert seen == list(group)
    assert bench.worker.current is None


async def test_an_idle_thread_holds_on_to_no_result() -> None:
    """What a handler returned is freed with its job, even while the thread waits for work."""

    class Big:
        pass

    alive: list[weakref.ref[Big]] = []

    def run(_: int) -> Big:
        big = Big()
        alive.append(weakref.ref(big))
        return big

    reported = threading.Event()
    worker = Worker(lambda jobs, ended: reported.set(), UNUSED, PushRoom(Limits()))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        worker.hand_over(await jobs_of(operation_on("big", run), 1))
        assert reported.wait(5)
        for _ in range(100):
            if alive[0]() is None:
                break
            await asyncio.sleep(0.01)
        assert alive[0]() is None
    finally:
        worker.stop()
        thread.join()


async def test_a_failure_holds_on_to_no_local_of_the_handler(bench: Bench) -> None:
    """The tensors of a handler that raised are freed, although its traceback is kept."""

    class Big:
        pass

    alive: list[weakref.ref[Big]] = []

    def run(_: int) -> None:
        big = Big()
        alive.append(weakref.ref(big))
        raise ValueError

    group = await jobs_of(operation_on("big", run), 1)
    bench.run(group)
    gc.collect()
    assert alive[0]() is None
    assert group[0].outcome.error.__traceback__ is not None


async def test_every_job_of_a_batch_is_reported() -> None:
    """Also one that was not run again, as nobody waited for it any more."""
    bench = Bench()
    operation = operation_on("batch", lambda items: iter([(0, "first")]), batch=Batch())
    loop = asyncio.get_running_loop()
    jobs = [Job(operation, n, loop.create_future()) for n in range(2)]
    bench.run(jobs)
    ((reported, _),) = bench.reports
    assert reported == jobs
    assert isinstance(jobs[1].outcome, Failure)
