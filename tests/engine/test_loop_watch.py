"""Telling which handler holds the event loop, on a clock that only the tests advance."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.engine import running
from support.operations import operation_on

from potassium.engine import LoopWatch
from potassium.engine.loop_watch import LIMIT, PERIOD

LOOKS = int(LIMIT / PERIOD) + 2  # that are sure to see a step as long as the limit


class Bench:
    """A watch over the loop of the test, which looks when the test says."""

    def __init__(self) -> None:
        self.now = self.by_loop = self.by_all = 0.0
        self.watch = LoopWatch(
            asyncio.get_running_loop(),
            clock=lambda: self.now,
            worked=lambda: (self.by_loop, self.by_all),
        )

    def look(self, seconds: float = PERIOD, *, working: bool = True, others: bool = False) -> None:
        """Let time go by; the loop's thread and others work meanwhile or not. Then look."""
        self.now += seconds
        self.by_loop += seconds * working
        self.by_all += seconds * (working + others)
        self.watch.look()

    def hold(self, looks: int = LOOKS, *, working: bool = True) -> None:
        """Hold the loop for so many looks."""
        for _ in range(looks):
            self.look(working=working)

    async def run(self, handler: Callable[[Any], Awaitable[Any]], calls: int = 1) -> None:
        operation = operation_on("/chat", handler, concurrency=2)
        async with running(operation) as engine:
            await asyncio.gather(*(engine.call(operation, None) for _ in range(calls)))


@pytest.fixture
async def bench() -> Bench:
    return Bench()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("working", [True, False], ids=["computing", "waiting"])
async def test_a_handler_that_holds_the_loop_is_told_by_name_and_line(
    bench: Bench, lines: Callable[[], list[str]], working: bool
) -> None:
    """The line says what to write instead. It is said once, however many calls there are."""

    async def handler(_: Any) -> None:
        bench.hold(working=working)

    await bench.run(handler, calls=3)
    (line,) = lines()
    assert line.startswith("/chat held the event loop for over 200 ms, at test_loop_watch.py:")
    assert "in test_a_handler_that_holds_the_loop" in line
    assert "def instead of async def" in line


async def test_the_line_is_in_the_code_that_the_handler_awaits(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """Whoever has called it is the app's own code; what that calls is told too."""

    def innermost() -> None:
        bench.hold()

    async def handler(_: Any) -> None:
        for _ in range(2):
            bench.look()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        innermost()

    await bench.run(handler)
    assert ".handler (" in lines()[0]


async def test_a_handler_whose_steps_are_short_is_not_blamed(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """Even if every look finds it running: it lets the loop go on in between."""

    async def handler(_: Any) -> None:
        for _ in range(4 * LOOKS):
            bench.hold(2)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    await bench.run(handler)
    assert lines() == []


async def test_a_handler_that_waits_does_not_hold_the_loop(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """A call may take as long as it likes, if it awaits."""
    over = asyncio.Event()

    async def handler(_: Any) -> None:
        await over.wait()

    run = asyncio.create_task(bench.run(handler))
    for _ in range(4 * LOOKS):
        await asyncio.sleep(0)
        bench.look()
    over.set()
    await run
    assert lines() == []


async def test_other_code_on_the_loop_is_not_taken_for_a_handler(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """Middleware, routes of the app's own: they are not in the task of a call."""
    bench.hold()
    assert lines() == []


@pytest.mark.parametrize("others", [True, False], ids=["other thread", "other process"])
async def test_time_in_which_something_else_ran_is_not_blamed_on_it(
    bench: Bench, lines: Callable[[], list[str]], others: bool
) -> None:
    """Another thread held the GIL, other processes had the CPU, or the machine slept."""

    async def handler(_: Any) -> None:
        bench.look()
        bench.look(10, working=False, others=others)
        bench.look()

    await bench.run(handler)
    assert lines() == []


async def test_a_handler_that_waits_on_a_busy_machine_is_told_as_well(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """The watch always comes late then: a period counts of each look."""

    async def handler(_: Any) -> None:
        for _ in range(LOOKS):
            bench.look(3 * PERIOD, working=False)

    await bench.run(handler)
    assert lines()[0].startswith("/chat held the event loop")


async def test_a_handler_that_lets_no_other_thread_run_is_told_as_well(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """As of a regular expression that takes long: the watch itself comes late then."""

    async def handler(_: Any) -> None:
        bench.look(10, working=True)

    await bench.run(handler)
    assert lines()[0].startswith("/chat held the event loop")


async def test_a_watch_ends_with_its_server() -> None:
    """No thread is left behind, not even if the loop is closed without a word."""
    loop = asyncio.new_event_loop()
    closed, orphan = LoopWatch(asyncio.get_running_loop()), LoopWatch(loop)
    for watch in (closed, orphan):
        watch.start()
    closed.close()
    loop.close()
    for watch in (closed, orphan):
        watch._thread.join(1)
        assert not watch._thread.is_alive()
