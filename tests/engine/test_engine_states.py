"""The engine as a state machine: its promises hold whatever happens, in whatever order."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.engine import NOTHING, thread_of
from support.inbox import Inbox
from support.manual_time import ManualLoop
from support.operations import operation_on
from support.threads import gpu_threads

from potassium import Limits
from potassium.config import Batch
from potassium.engine import (
    Engine,
    Failure,
    Job,
    Lifecycle,
    Operation,
    Priority,
    State,
    Steps,
    Stream,
)
from potassium.engine.stream import BUFFER
from potassium.errors import PotassiumError, QueueFull

LIMIT = 6
GRACE = 5.0  # virtual seconds
CHUNKS = [b"%d" % number * (BUFFER // 2) for number in range(4)]  # after two, its stream stalls
KINDS = [
    "long",
    "long",
    "short",
    "on_loop",
    "held",
    "held",
    "free",
    "free",
    "push",
    "batched",
    "around",
]


class Call:
    """One call, and what is known of it from outside."""

    def __init__(self, deadline: float | None, client: str | None, *, streams: bool) -> None:
        self.deadline = deadline
        self.client = client
        self.streams = streams  # whether it streams, if its operation may
        self.left = False
        self.started = 0
        self.ends = 0  # how often its generator was closed or exhausted
        self.generators = 0
        self.got: list[bytes] = []
        self.appetite = asyncio.Semaphore(0)  # one permit for each time its reader may take
        self.is_sated = True  # its reader wants no more for now
        self.job: Job | None = None
        self.task: asyncio.Task[None]

    @property
    def reads(self) -> bool:
        """Whether it is up to its reader to find out how its stream ended."""
        return self.job is not None and self.job.stream is not None and self.is_sated

    def is_late(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    def may_take(self, times: int) -> None:
        for _ in range(times):
            self.appetite.release()


class Chunks(Steps):
    """The generator of one call; if it is held, it waits at the gate in each step."""

    def __init__(self, machine: "Engines", call: Call, *, held: bool) -> None:
        self._machine = machine
        self._call = call
        self._held = held
        self._left = iter(CHUNKS)
        call.generators += 1

    def __next__(self) -> bytes:
        with self._machine.alone(self._call):
            try:
                if self._held:
                    self._machine.wait_at_gate()
                return next(self._left)
            except BaseException:
                self._call.ends += 1
                raise

    def close(self) -> None:
        with self._machine.alone(None):
            self._call.ends += 1


class Engines(RuleBasedStateMachine):
    """Random calls, streams, readers, departures, deadlines, failures and drains.

    Time is virtual, the threads are real. A long operation blocks the GPU thread until a rule lets
    it go on, so that nothing moves between two rules.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = ManualLoop()
        self.loop.set_exception_handler(lambda _, context: self.broken.append(str(context)))
        self.calls: list[Call] = []
        self.broken: list[str] = []
        self.inside = 0
        self.at_gate = threading.Event()
        self.go = threading.Event()
        self.fails = False
        self.is_ending = False
        # may_stream is set: otherwise, when the loop learns that they stream is a matter of chance.
        self.operations = {
            "long": operation_on("long", self._long),
            "short": operation_on("short", self._short),
            "on_loop": operation_on("on loop", self._on_loop, concurrency=2),
            "held": operation_on("held", self._open_held, streams=2, may_stream=True),
            "free": operation_on("free", self._open_free, may_stream=True),
            "push": operation_on("push", self._push, may_stream=True),
            "batched": operation_on("batched", self._batch, batch=Batch(max_size=3, max_delay=1.0)),
            "around": operation_on("around", self._short, prepare=_same, finish=_same),
        }
        self.engine = Engine(
            self.operations.values(),
            limits=Limits(queue_size=LIMIT, grace_period=GRACE, priorities=True),
            lifecycle=Lifecycle(),
            clock=self.loop.time,
        )
        self.inbox = thread_of(self.engine).worker._inbox = Inbox()
        self.came_back: set[Stream[Job]] = set()  # after a stall; these need no slot
        turns = thread_of(self.engine).worker._slots
        go_on = turns.come_back

        def come_back(stream: Stream[Job]) -> None:
            self.came_back.add(stream)
            go_on(stream)

        turns.come_back = come_back  # type: ignore[method-assign] # a spy
        start = self.loop.create_task(self.engine.start(NOTHING))
        self._settle(start.done)

    # What runs on the threads.

    @contextmanager
    def alone(self, call: Call | None) -> Iterator[None]:
        """Check that nothing else runs at the same time, and that ``call`` is still wanted."""
        self.inside += 1
        if self.inside > 1:
            self.broken.append("two handlers ran at once")
        if call is not None and call.left:
            self.broken.append("a call ran whose caller had left")
        if call is not None and not self.is_ending and call.is_late(self.loop.now):
            self.broken.append("a call ran past its deadline")
        try:
            yield
        finally:
            self.inside -= 1

    def wait_at_gate(self) -> None:
        self.at_gate.set()
        self.go.wait(30)
        self.go.clear()
        if self.fails:
            raise SystemExit("failed")

    def _short(self, call: Call) -> Call:
        with self.alone(call):
            call.started += 1
        return call

    def _long(self, call: Call) -> None:
        with self.alone(call):
            call.started += 1
            self.wait_at_gate()

    def _open_held(self, call: Call) -> Steps | None:
        return self._open(call, held=True)

    def _open_free(self, call: Call) -> Steps | None:
        return self._open(call, held=False)

    def _open(self, call: Call, *, held: bool) -> Steps | None:
        self._short(call)
        return Chunks(self, call, held=held) if call.streams else None

    def _push(self, call: Call) -> None:
        with self.alone(call):
            call.started += 1
            assert call.job is not None
            stream = thread_of(self.engine).worker.open_stream(call.job)
            for chunk in CHUNKS:
                stream.send(chunk)

    def _batch(self, calls: Sequence[Call]) -> Iterator[tuple[int, Any]]:
        for index, call in enumerate(calls):
            self._short(call)
            yield index, None if call.streams else Failure(ValueError("one of a batch"))

    async def _on_loop(self, call: Call) -> None:
        call.started += 1
        if call.left:
            self.broken.append("an async call ran whose caller had left")
        await asyncio.sleep(1)

    # What runs on the loop.

    def _admit(self, operation: Operation, call: Call, priority: Priority) -> Job:
        """Admit a call, and check that it is refused if and only if its client has its share."""
        capacity = self.engine._pipeline.queue_of(operation).capacity
        try:
            job = self.engine.admit(
                operation, call, deadline=call.deadline, priority=priority, client=call.client
            )
        except QueueFull:
            if capacity.free > (0 if call.client is None else capacity.held(call.client)):
                self.broken.append("a call was refused for which there was a place")
            raise
        if call.client is not None and capacity.held(call.client) > capacity.free + 1:
            self.broken.append("a call was admitted whose client had its share")
        return job

    async def _serve(self, kind: str, call: Call, priority: Priority) -> None:
        call.job = self._admit(self.operations[kind], call, priority)
        outcome = await self.engine.outcome(call.job)
        if type(outcome) is not Stream:
            return
        try:
            await self._appetite(call)
            while (chunks := await outcome.take()) is not None:
                call.got += chunks
                call.is_sated = True
                await self._appetite(call)
        finally:
            self.engine.release(outcome)
        assert call.got == CHUNKS

    async def _appetite(self, call: Call) -> None:
        """Return once the reader of ``call`` may take, and its stream has got as far as it can."""
        await call.appetite.acquire()
        await asyncio.sleep(0)
        call.is_sated = False

    def _settle(self, until: Any = lambda: True) -> None:
        """Let the loop and the threads do all that they can without another rule.

        They take turns: how many chunks a reader finds would otherwise be a matter of chance.
        """
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            if self._gpu_thread_rests():
                self.loop.step()
                # In this order: what a thread reports before it rests then shows on the loop.
                if until() and self._threads_rest() and self.loop.is_at_rest:
                    return
            else:
                time.sleep(0.00002)
        raise AssertionError("the engine does not come to rest")

    def _gpu_thread_rests(self) -> bool:
        began = thread_of(self.engine).worker.started
        return not began or self.inbox.is_at_rest or self.at_gate.is_set()

    def _threads_rest(self) -> bool:
        # A job that was called off keeps its place until the pool has got to it.
        in_pool = any(call.job is not None and call.job.in_pool for call in self.calls)
        return not in_pool and self._gpu_thread_rests()

    @rule(
        kind=st.sampled_from(KINDS),
        streams=st.sampled_from([True, True, False]),
        wait=st.sampled_from([None, None, 0.0, 1.0, 3.0]),
        priority=st.sampled_from(Priority),
        client=st.sampled_from([None, "a", "a", "b", "c"]),
        count=st.integers(1, 4),
        appetite=st.sampled_from([0, 1, 100]),
    )
    def admit(  # noqa: PLR0913 - what a call may be like
        self,
        *,
        kind: str,
        streams: bool,
        wait: float | None,
        priority: Priority,
        client: str | None,
        count: int,
        appetite: int,
    ) -> None:
        for _ in range(count):
            call = Call(None if wait is None else self.loop.now + wait, client, streams=streams)
            call.may_take(appetite)
            call.task = self.loop.create_task(self._serve(kind, call, priority))
            self.calls.append(call)
        self._settle()

    @precondition(lambda self: self.open_calls())
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        waiting = self.open_calls()
        call = waiting[which % len(waiting)]
        call.left = True
        call.task.cancel()
        self._settle()

    @precondition(lambda self: self.open_calls())
    @rule(which=st.integers(0, 100), times=st.sampled_from([1, 1, 100]))
    def read(self, which: int, times: int) -> None:
        waiting = self.open_calls()
        waiting[which % len(waiting)].may_take(times)
        self._settle()

    @rule(seconds=st.sampled_from([0.002, 0.5, 1.0, 2.5, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.now += seconds
        self._settle()

    @precondition(lambda self: self.at_gate.is_set())
    @rule(fails=st.sampled_from([False, False, True]))
    def let_go(self, fails: bool) -> None:
        self._open_gate(fails=fails)
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
        assert all(call.got == CHUNKS[: len(call.got)] for call in self.calls)

    @invariant()
    def the_count_is_right(self) -> None:
        engine = self.engine
        behind = list(thread_of(engine).dispatcher.handed_over)[1:]
        in_the_inbox = sum(job.called_off is None for group in behind for job in group)
        assert engine.capacity.waiting == engine._pipeline.jobs.qsize() + in_the_inbox
        for lane in engine.lanes.values():
            assert lane.jobs.capacity.waiting == lane.jobs.qsize()
        for capacity in (engine.capacity, *(lane.jobs.capacity for lane in engine.lanes.values())):
            assert 0 <= capacity.waiting <= LIMIT

    @invariant()
    def each_client_holds_the_places_of_its_jobs(self) -> None:
        for queue in {self.engine._pipeline.queue_of(one) for one in self.operations.values()}:
            held = Counter(
                call.client
                for call in self.calls
                if call.job is not None
                and call.job.has_place
                and self.engine._pipeline.queue_of(call.job.operation) is queue
            )
            assert held.total() == queue.capacity.waiting
            del held[None]
            assert held == queue.capacity._held

    @invariant()
    def no_more_streams_take_turns_than_may(self) -> None:
        worker = thread_of(self.engine).worker
        for operation in self.operations.values():
            turns = [stream for stream in worker._slots.active if stream.job.operation is operation]
            wanted = [stream for stream in turns if stream.job.called_off is None]
            assert len(set(wanted) - self.came_back) <= operation.streams
            parked = [job for job in worker._slots.parked if job.operation is operation]
            assert operation.parked_jobs == len(parked)
            assert operation.open_streams == len(turns) + operation.stalled_streams
            assert operation.open_streams <= 2 * operation.streams

    @invariant()
    def an_idle_thread_has_forgotten_nobody(self) -> None:
        worker = thread_of(self.engine).worker
        if not self.at_gate.is_set():
            assert worker.current is None
            assert not worker._slots.active
            assert not worker._slots.parked
            assert all(stream.is_full for stream in worker._slots._stalled)
            assert all(stream.job.called_off is None for stream in worker._slots._stalled)
            if self.engine.lifecycle.state is not State.FAILED:
                waiting = [line for line in self.engine._pipeline.jobs.by_operation if line]
                for operation in (line.operation for line in waiting):
                    # Their batch gathers, or too many streams are open whose readers do not read.
                    assert operation.batching or operation.free_streams <= 0

    @invariant()
    def nobody_waits_past_a_deadline(self) -> None:
        for call in self.calls:
            if call.is_late(self.loop.now):
                assert call.task.done() or call.reads

    @invariant()
    def nobody_waits_for_an_engine_that_has_failed(self) -> None:
        if self.engine.lifecycle.state is State.FAILED:
            assert all(call.task.done() or call.reads for call in self.calls)

    def open_calls(self) -> list[Call]:
        return [call for call in self.calls if not call.task.done()]

    def _open_gate(self, *, fails: bool) -> None:
        self.fails = fails
        self.at_gate.clear()
        self.go.set()

    def teardown(self) -> None:
        """Let everything end: each call has one outcome and is counted once."""
        try:
            self._end()
        finally:
            self.go.set()
            while any(not task.done() for task in asyncio.all_tasks(self.loop)):
                self.loop.step()
            while gpu_threads():  # one was left behind, as virtual time passed fast
                self.go.set()
                time.sleep(0.0002)
            self.loop.step(10)  # anyio releases its thread once its last task is done
            self.loop.close()
        self.promises_hold()
        counts = self.engine.calls.counts
        assert counts.admitted + counts.refused == len(self.calls)
        assert counts.succeeded + counts.failed + counts.cancelled == counts.admitted
        for call in self.calls:
            assert call.ends == call.generators <= 1
            if not call.task.cancelled():
                assert isinstance(call.task.exception(), PotassiumError | None)
        assert thread_of(self.engine).worker._pushes.room.ahead == 0

    def _end(self) -> None:
        self.is_ending = True
        stop = self.loop.create_task(self.engine.stop())
        give_up = time.monotonic() + 10
        while not (stop.done() and all(call.task.done() for call in self.calls)):
            assert time.monotonic() < give_up, "the engine does not stop"
            if self.at_gate.is_set():
                self._open_gate(fails=False)
            for call in self.open_calls():
                call.may_take(1)
            self.loop.now += 0.25
            self.loop.step(10)
            time.sleep(0.0002)
        stop.result()


def _same(call: Call) -> Call:
    return call


Engines.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestEngines = Engines.TestCase
