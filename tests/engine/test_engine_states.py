"""The engine as a state machine: whatever happens in whatever order, its promises hold."""

import asyncio
import threading
import time
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.engine import NOTHING
from support.manual_time import ManualLoop

from potassium import Limits
from potassium.engine import Engine, Lifecycle, Operation, Priority, State
from potassium.errors import PotassiumError

LIMIT = 6
GRACE = 5.0  # virtual seconds


class Call:
    """One call, and what is known of it from outside."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.left = False
        self.started = 0
        self.task: asyncio.Task[Any]


class Engines(RuleBasedStateMachine):
    """Random calls, departures, deadlines, failures and drains, on virtual time.

    The GPU thread is real. Its long jobs stand still until a rule lets them end, so that between
    two rules nothing moves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = ManualLoop()
        self.calls: list[Call] = []
        self.broken: list[str] = []
        self.inside = 0
        self.at_gate = threading.Event()
        self.go = threading.Event()
        self.fails = False
        self.long = Operation("long", self._long)
        self.short = Operation("short", self._note)
        self.on_loop = Operation("on loop", self._on_loop, concurrency=2)
        self.engine = Engine(
            [self.long, self.short, self.on_loop],
            limits=Limits(queue_size=LIMIT, grace_period=GRACE, priorities=True),
            lifecycle=Lifecycle(),
            clock=self.loop.time,
        )
        start = self.loop.create_task(self.engine.start(NOTHING))
        self._settle(start.done)

    def _note(self, call: Call) -> None:
        """Check, where a call begins to run, that it may."""
        call.started += 1
        self.inside += 1
        if self.inside > 1:
            self.broken.append("two handlers ran at once")
        if call.left:
            self.broken.append("a call ran whose caller had left")
        if call.deadline is not None and self.loop.now >= call.deadline:
            self.broken.append("a call ran past its deadline")
        self.inside -= 1

    def _long(self, call: Call) -> str:
        self._note(call)
        self.inside += 1
        self.at_gate.set()
        self.go.wait(30)
        self.go.clear()
        self.inside -= 1
        if self.fails:
            raise SystemExit("failed")
        return "done"

    async def _on_loop(self, call: Call) -> None:
        call.started += 1
        if call.left:
            self.broken.append("an async call ran whose caller had left")
        await asyncio.sleep(1)

    def _settle(self, until: Any = lambda: True) -> None:
        """Let loop and thread do all that they can without a rule."""
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            # Until nothing is ready: a queue that waits for its dispatcher is no rest either.
            self.loop.rest()
            group = self.engine._dispatcher.handed_over
            if until() and (not group or self.at_gate.is_set()):
                self.loop.rest()  # what the thread reported right before it came to the gate
                return
            time.sleep(0.0001)
        raise AssertionError("the engine does not come to rest")

    @rule(
        kind=st.sampled_from(["long", "long", "short", "short", "on_loop"]),
        wait=st.sampled_from([None, None, 0.0, 1.0, 3.0]),
        priority=st.sampled_from(Priority),
        count=st.integers(1, 4),
    )
    def admit(self, kind: str, wait: float | None, priority: Priority, count: int) -> None:
        operation: Operation = getattr(self, kind)
        for _ in range(count):
            deadline = None if wait is None else self.loop.now + wait
            call = Call(deadline)
            coroutine = self.engine.call(operation, call, deadline=deadline, priority=priority)
            call.task = self.loop.create_task(coroutine)
            self.calls.append(call)
        self._settle()

    @precondition(lambda self: any(not call.task.done() for call in self.calls))
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        waiting = [call for call in self.calls if not call.task.done()]
        call = waiting[which % len(waiting)]
        call.left = True
        call.task.cancel()
        self._settle()

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.now += seconds
        self._settle()

    @precondition(lambda self: self.at_gate.is_set())
    @rule(fails=st.booleans())
    def end_long(self, fails: bool) -> None:
        self.fails = fails
        self.at_gate.clear()
        self.go.set()
        self._settle()

    @rule()
    @precondition(lambda self: len(self.calls) > 5)
    def drain(self) -> None:
        self.engine.drain()
        self._settle()

    @rule()
    @precondition(lambda self: len(self.calls) > 10)
    def fail(self) -> None:
        self.engine.fail("a test said so")
        self._settle()

    @invariant()
    def promises_hold(self) -> None:
        assert self.broken == []
        assert max((call.started for call in self.calls), default=0) <= 1

    @invariant()
    def the_count_is_right(self) -> None:
        engine = self.engine
        queued = engine._jobs.qsize() + sum(lane.qsize() for lane in engine._queues.values())
        behind = list(engine._dispatcher.handed_over)[1:]
        in_the_inbox = sum(job.called_off is None for group in behind for job in group)
        assert engine.capacity.waiting == queued + in_the_inbox
        assert 0 <= engine.capacity.waiting <= LIMIT

    @invariant()
    def nobody_waits_past_a_deadline(self) -> None:
        for call in self.calls:
            if call.deadline is not None and call.deadline <= self.loop.now:
                assert call.task.done()

    @invariant()
    def nobody_waits_for_an_engine_that_has_failed(self) -> None:
        if self.engine.lifecycle.state is State.FAILED:
            assert all(call.task.done() for call in self.calls)

    def teardown(self) -> None:
        """Let everything end: each call has one outcome, and is counted once."""
        try:
            self._end()
        finally:
            self.go.set()
            while any(not task.done() for task in asyncio.all_tasks(self.loop)):
                self.loop.step()
            self.loop.step(10)  # with its last task, anyio lets its thread go
            self.loop.close()
        self.promises_hold()
        counts = self.engine.counts
        assert counts.admitted + counts.refused == len(self.calls)
        assert counts.succeeded + counts.failed + counts.cancelled == counts.admitted
        for call in self.calls:
            if not call.task.cancelled():
                assert isinstance(call.task.exception(), PotassiumError | None)

    def _end(self) -> None:
        self.fails = False
        stop = self.loop.create_task(self.engine.stop())
        give_up = time.monotonic() + 10
        while not (stop.done() and all(call.task.done() for call in self.calls)):
            assert time.monotonic() < give_up, "the engine does not stop"
            if self.at_gate.is_set():
                self.at_gate.clear()
                self.go.set()
            self.loop.now += 0.25
            self.loop.step(10)
            time.sleep(0.0002)
        stop.result()


Engines.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestEngines = Engines.TestCase
