"""Telling which handler holds the event loop, on a clock that only the tests advance."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from support.engine import running
from support.operations import operation_on

from potassium.engine import LoopWatch
from potassium.engine.loop_watch import LIMIT, PERIOD
from potassium.engine.places import OURS

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


async def test_a_route_or_middleware_that_holds_the_loop_is_told_by_name_and_line(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """Once, and not the middleware around it, which awaits it. The advice is another one."""

    def helper() -> None:
        bench.hold()

    async def route() -> None:
        helper()

    async def middleware() -> None:
        await route()

    for _ in range(2):
        await asyncio.create_task(middleware())
    (line,) = lines()
    assert re.match(r"\S+\.route held the event loop for over 200 ms, at test_loop_watch.py:", line)
    assert ".route (places.py:" in line
    assert "If it is a route, write def" in line
    assert "GPU thread" not in line


async def test_routes_of_the_same_name_are_each_told(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """They may be in two modules."""
    for letter in "ab":
        made: dict[str, Any] = {"hold": bench.hold}
        exec(compile("async def index(): hold()", f"{letter}.py", "exec"), made)  # noqa: S102
        await asyncio.create_task(made["index"]())
    assert [re.findall(r"at (\w\.py):1 in index", line) for line in lines()] == [["a.py"], ["b.py"]]


async def test_a_coroutine_of_pythons_own_is_not_blamed(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """But the one that has awaited it."""

    async def route() -> None:
        manager = AsyncExitStack()
        async with manager:
            manager.callback(bench.hold)

    await asyncio.create_task(route())
    assert ".route (places.py:" in lines()[0]


async def test_work_of_our_own_is_not_blamed_on_the_app(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """As reading a large body: there is nothing that the app could write instead."""
    ours: dict[str, Any] = {}
    code = compile("async def work(hold): hold()", str(Path(OURS) / "body.py"), "exec")
    exec(code, ours)  # noqa: S102 - a coroutine that is ours

    async def middleware() -> None:
        await ours["work"](bench.hold)

    await asyncio.create_task(middleware())
    assert lines() == []


async def test_what_starts_the_app_is_not_watched(lines: Callable[[], list[str]]) -> None:
    """A parent's lifespan may load more after this: nobody waits for the loop so far."""
    Bench().hold()
    assert lines() == []


async def test_a_callback_is_nobodys(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """It has no task, and no name."""
    asyncio.get_running_loop().call_soon(bench.hold)
    await asyncio.sleep(0)
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


async def test_a_handler_that_waits_while_another_thread_works_is_told_as_well(
    bench: Bench, lines: Callable[[], list[str]]
) -> None:
    """A look that comes in time shows who holds the loop, whoever has the CPU."""

    async def handler(_: Any) -> None:
        for _ in range(LOOKS):
            bench.look(working=False, others=True)

    await bench.run(handler)
    assert lines()[0].startswith("/chat held the event loop")


async def test_a_handler_that_has_just_gone_on_is_not_told(
    bench: Bench, lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place that was found may be that of something else by then."""

    def place_below(*_: Any) -> str:
        bench.watch._note_move()
        return "x.py:1"

    monkeypatch.setattr("potassium.engine.loop_watch.place_below", place_below)

    async def handler(_: Any) -> None:
        bench.hold()

    await bench.run(handler)
    assert lines() == []


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
