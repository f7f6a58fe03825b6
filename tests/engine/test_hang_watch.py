"""When a call counts as stuck, on a clock that only the tests advance."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.manual_time import ManualLoop
from support.operations import operation_on

from potassium.engine.hang_watch import HangWatch
from potassium.engine.heartbeat import Pulse
from potassium.engine.job import Job

TIMEOUT = 10.0


class Bench:
    """A watch over a thread that runs what a test says."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.worker = SimpleNamespace(current=None, since=0.0, progressed_at=0.0)
        self.reports: list[str] = []
        self.loop.run_until_complete(self._begin())

    async def _begin(self) -> None:
        pool = SimpleNamespace(oldest=None)
        pulse = Pulse(cast("Any", self.worker), cast("Any", pool), TIMEOUT, clock=self.loop.time)
        self.watch = HangWatch(pulse, TIMEOUT, self.reports.append, clock=self.loop.time)

    def run(self, name: str) -> None:
        """Let the thread begin a job now."""
        future = self.loop.create_future()
        self.worker.since = self.loop.now
        self.worker.current = Job(operation_on(name, lambda _: None), None, future)

    def pass_time(self, seconds: float) -> None:
        """Let time pass while the process runs."""
        for _ in range(round(seconds * 10)):
            self.loop.now += 0.1
            self.loop.rest()

    def stop(self, seconds: float) -> None:
        """Let time pass while the process is stopped."""
        self.loop.now += seconds
        self.loop.rest()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.close()


def test_a_call_that_does_not_return_is_reported(bench: Bench) -> None:
    """Once hang_timeout is over, with the name of its handler."""
    bench.run("work")
    bench.pass_time(TIMEOUT - 1)
    assert not bench.reports
    bench.pass_time(2.5)
    assert bench.reports == ["work"]


def test_a_process_that_was_stopped_does_not_hang(bench: Bench) -> None:
    """A pause, a debugger or a machine that slept: nothing ran, so no call was stuck."""
    bench.run("work")
    bench.pass_time(3)
    bench.stop(3600)
    bench.pass_time(3)
    assert not bench.reports


def test_a_call_that_begins_right_before_the_process_stops_does_not_hang(bench: Bench) -> None:
    """No check saw it before."""
    bench.pass_time(5.05)
    bench.run("work")
    bench.stop(3600)
    bench.pass_time(3)
    assert not bench.reports


def test_a_call_that_hangs_is_reported_although_the_process_was_stopped(bench: Bench) -> None:
    """The time that the process ran counts, before and after."""
    bench.run("work")
    bench.pass_time(3)
    bench.stop(3600)
    bench.pass_time(TIMEOUT)
    assert bench.reports == ["work"]


def test_a_stop_counts_for_the_step_in_which_it_was_and_for_no_later_one(bench: Bench) -> None:
    """A call that goes on after the stop, and then hangs, is reported as soon as any other."""
    bench.run("work")
    bench.pass_time(3)
    bench.stop(3600)
    bench.pass_time(1)
    bench.worker.progressed_at = bench.loop.now
    bench.pass_time(TIMEOUT + 2)
    assert bench.reports == ["work"]


def test_a_call_that_makes_progress_does_not_hang(bench: Bench) -> None:
    """However long it takes: it pushes chunks, or reports how far it is."""
    bench.run("work")
    for _ in range(5):
        bench.pass_time(TIMEOUT - 1)
        bench.worker.progressed_at = bench.loop.now
    assert not bench.reports
    bench.pass_time(TIMEOUT + 2)
    assert bench.reports == ["work"]
