"""Workers that come, die and come back: no call is lost, and none is run twice."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.fake_worker import FakeCall, FakeWorker
from support.fleet_bench import FleetBench
from support.operations import operation_on

from potassium.config import Batch
from potassium.engine import Job, Operation, Priority, State
from potassium.errors import DeadlineExceeded, Draining, HandlerError, QueueFull, WorkerFailed
from potassium.workers.page import SLOTS
from potassium.workers.process import WorkerProcess
from potassium.workers.remote import Keeper, RemoteWorker

pytestmark = pytest.mark.timeout(300)  # each example runs thousands of lines, traced for coverage

LIMIT = 8
GRACE = 60.0  # virtual seconds
HANG = 30.0
FOREVER = 100.0  # virtual seconds, in which every call comes to its end
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["next"] * 4 + ["begin", "fail", "pool", "prepared"])
    ),
    min_size=1,
    max_size=8,
)


def same(argument: Any) -> Any:
    return argument


def measured(operation: Operation, seconds: float) -> Operation:
    operation.service_time.add(seconds)
    return operation


def operations() -> list[Operation]:
    """Return new ones; ``by_cost`` and ``prepared`` are prepared in the workers."""
    cost = Batch(max_size=4, max_delay=1.0, cost=len, max_cost=20)
    return [
        measured(operation_on("long", same), 1.0),
        measured(operation_on("short", same), 0.0004),
        operation_on("unknown", same),
        operation_on("batched", same, batch=Batch(max_size=3, max_delay=1.0)),
        operation_on("by_cost", same, batch=cost, prepare=same),
        operation_on("prepared", same, prepare=same),
        operation_on("stream", same, may_stream=True),
        operation_on("streams", same, may_stream=True, streams=2),
    ]


class Call:
    """One call, and what is known of it from outside."""

    def __init__(self, kind: str, deadline: float | None, job: Job) -> None:
        self.kind = kind
        self.deadline = deadline
        self.job = job
        self.left = False
        self.chunks: list[bytes] = []  # those that its worker has sent, and the front has heard
        self.fails = False  # its worker said so

    def is_late(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline


class Fleets(RuleBasedStateMachine):
    """Random calls, departures, deadlines, and workers in which anything may happen.

    Everything from the engine to the sockets is real; a rule is what happens in a process. Nothing
    moves between two rules.
    """

    def __init__(self) -> None:
        super().__init__()
        self.descriptors = _descriptors()
        self.operations = {one.name: one for one in operations()}
        self.bench = FleetBench(
            *self.operations.values(),
            devices=3,
            limits={
                "queue_size": LIMIT,
                "grace_period": GRACE,
                "hang_timeout": HANG,
                "priorities": True,
            },
            workers={"load_at_once": 2, "load_timeout": HANG},
        )
        self.calls: dict[str, Call] = {}
        self.refused = self.deaths = 0
        self.broken: list[str] = []
        self._spy_on_hand_overs()
        self.bench.start()

    def _spy_on_hand_overs(self) -> None:
        fleet = self.bench.fleet
        new_worker = fleet.new_worker

        def spied(process: WorkerProcess, keeper: Keeper) -> RemoteWorker:
            worker = new_worker(process, keeper)
            hand_over = worker.hand_over

            def checked(group: Sequence[Job]) -> None:
                self._check_hand_over(worker, group)
                hand_over(group)

            worker.hand_over = checked  # type: ignore[method-assign] # a spy
            return worker

        fleet.new_worker = spied  # type: ignore[method-assign] # a spy

    def _check_hand_over(self, worker: RemoteWorker, group: Sequence[Job]) -> None:
        """Check that a worker gets what is first, and nothing that an idle one could have."""
        jobs = self.bench.engine._pipeline.jobs
        plain = [queue for queue in jobs.by_operation if queue and _is_plain(queue.operation)]
        first = min((queue.first.rank for queue in plain), default=group[0].rank)
        # What a worker has prepared, it may take before its turn.
        if group[0].operation.prepare is None and first < group[0].rank:
            self.broken.append("a call was overtaken")
        if worker.has_left:
            self.broken.append("a worker that had left was given a group")
        idle = [one for one in self.bench.fleet.workers if one is not worker]
        is_ahead = worker.dispatcher.load > 1 and _is_plain(group[0].operation)
        if is_ahead and any(not one.dispatcher.load for one in idle):
            self.broken.append("a worker was given a second group, and another one was idle")

    # What callers do.

    @rule(
        kind=st.sampled_from([one.name for one in operations()]),
        wait=st.sampled_from([None, None, None, 0.5, 3.0, 40.0]),
        priority=st.sampled_from(Priority),
        client=st.sampled_from([None, None, "a", "b"]),
        is_background=st.sampled_from([False, False, False, True]),
        count=st.integers(1, 5),
    )
    def call(  # noqa: PLR0913 - what a call may be like
        self,
        *,
        kind: str,
        wait: float | None,
        priority: Priority,
        client: str | None,
        is_background: bool,
        count: int,
    ) -> None:
        deadline = None if wait is None else self.bench.loop.now + wait
        for _ in range(count):
            name = f"{kind}-{len(self.calls)}"
            try:
                job = self.bench.call(
                    self.operations[kind],
                    name,
                    body=name.encode(),
                    deadline=deadline,
                    priority=priority,
                    client=client,
                    is_background=is_background,
                )
            except QueueFull:
                self.refused += 1
                assert not is_background
                free = self.bench.engine.capacity.free
                assert free <= (0 if client is None else self.bench.engine.capacity.held(client))
            except (Draining, WorkerFailed):
                self.refused += 1
                assert self.bench.state is not State.READY
            else:
                self.calls[name] = Call(kind, deadline, job)

    @precondition(lambda self: self.open_calls())
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        names = self.open_calls()
        name = names[which % len(names)]
        self.calls[name].left = True
        self.bench.leave(name)

    # What workers do.

    @precondition(lambda self: any(worker.calls for worker in self.loaded()))
    @rule(steps=STEPS)
    def work(self, steps: list[tuple[int, str]]) -> None:
        for which, what in steps:
            workers = self.loaded()
            worker = workers[which % len(workers)]
            if what == "next":
                self._begin_or_finish(worker)
            else:
                self._work(worker, what)
            self.bench.rest()

    def _begin_or_finish(self, worker: FakeWorker) -> bool:
        return any(self._work(worker, what) for what in ("finish", "prepared", "begin"))

    @precondition(lambda self: any(worker.streams for worker in self.loaded()))
    @rule(
        which=st.integers(0, 100),
        what=st.sampled_from(["push", "push", "stall", "end", "end", "break"]),
    )
    def stream(self, which: int, what: str) -> None:
        streams = [(worker, call) for worker in self.loaded() for call in worker.streams]
        worker, stream = streams[which % len(streams)]
        if what == "push":
            chunk = b"%d" % len(self.calls[stream.name].chunks)
            worker.push(stream, chunk)
            self.calls[stream.name].chunks.append(chunk)
        elif what == "stall" and stream not in worker.stalled:
            worker.stall(stream)
        elif what == "end":
            worker.end(stream)
        elif what == "break":
            self.calls[stream.name].fails = True
            worker.end(stream, ValueError("broken"))
        self.bench.rest()

    @rule(
        which=st.integers(0, 2),
        what=st.sampled_from(["silent", "silent", "speaks", "speaks", "no processes", "processes"]),
    )
    def change(self, which: int, what: str) -> None:
        """Let what a worker sends wait in its memory, as if the front did not read; or the like."""
        workers = list(self.bench.spawner)
        if what in ("no processes", "processes"):
            has_failed = what == "no processes"
            self.bench.spawner.error = OSError("no more processes") if has_failed else None
        elif workers and what == "silent":
            workers[which % len(workers)].is_mute = True
        elif workers:
            workers[which % len(workers)].speak()
            self.bench.rest()

    # Most of them die with calls.
    @precondition(lambda self: any(one.calls for one in self.loaded()) or self.deaths < 1)
    @rule(
        which=st.integers(0, 2),
        how=st.sampled_from(["dies", "dies", "speaks and dies", "unusable", "closes", "steps"]),
    )
    def die(self, which: int, how: str) -> None:
        workers = [one for one in self.loaded() if one.calls] or list(self.bench.spawner)
        worker = workers[which % len(workers)]
        self.deaths += 1
        if how == "closes":
            self.bench.do(worker.close_socket)
            return
        self.bench.do(partial(self._die, worker, how))

    def _die(self, worker: FakeWorker, how: str) -> None:
        """Let a worker die; the front hears its last words only after that."""
        if how == "speaks and dies":
            worker.speak()
        elif how == "unusable":
            worker.tell_unusable(RuntimeError("CUDA error"))
        elif how == "steps" and worker.is_loaded and worker.has_socket:
            for what in ("prepared", "finish", "begin"):
                self._work(worker, what)
        worker.die(70 if how == "unusable" else -9)

    @precondition(lambda self: self.loading())
    @rule(which=st.integers(0, 2), fails=st.sampled_from([False, False, False, True]))
    def load(self, which: int, fails: bool) -> None:
        workers = self.loading()
        worker = workers[which % len(workers)]
        if fails:
            worker.fail_to_load(ValueError("no such model"))
            self.bench.die(worker, 1)
        else:
            worker.load()
            self.bench.rest()

    @rule(seconds=st.sampled_from([0.0005, 0.002, 0.5, 0.9995, 1.0, 5.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.bench.pass_time(seconds)

    @precondition(lambda self: len(self.calls) > 25)
    @rule()
    def drain(self) -> None:
        self.bench.do(self.bench.engine.drain)

    def _work(self, worker: FakeWorker, what: str) -> bool:
        """Let a worker do a step if it can; return whether it could."""
        running = worker.running
        if what == "prepared" and worker.preparing:
            worker.prepared(cost=len(worker.preparing[0].name))
        elif what == "begin" and not running and worker.next_calls:
            self._begin(worker)
        elif what == "begin" and worker.parked and self._may_stream(worker, worker.parked[0]):
            worker.unpark()
        elif what == "finish" and worker.finishing:
            worker.finished()
        elif what == "finish" and running and self._is_stream(running[0]):
            worker.open()
        elif what in ("finish", "fail") and running:
            for call in running:
                self.calls[call.name].fails = what == "fail"
            worker.finish(error=ValueError("failed") if what == "fail" else None)
        elif what == "pool" and len(running) == 1 and not self._is_stream(running[0]):
            worker.hand_to_pool()
        else:
            return False
        return True

    def _begin(self, worker: FakeWorker) -> None:
        first = worker.next_calls[0]
        if self._is_stream(first) and not self._may_stream(worker, first):
            worker.park()
            return
        is_batch = self._operation(first).batching is not None
        worker.begin(together=len(worker.next_calls) if is_batch else 1)

    def _operation(self, call: FakeCall) -> Operation:
        return self.operations[self.calls[call.name].kind]

    def _is_stream(self, call: FakeCall) -> bool:
        return self._operation(call).may_stream

    def _may_stream(self, worker: FakeWorker, call: FakeCall) -> bool:
        taken = [one for one in worker.streams if one not in worker.stalled]
        operation = self._operation(call)
        return sum(self._operation(one) is operation for one in taken) < operation.streams

    # What holds in any case.

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.bench.broken == []
        assert self.broken == []

    @invariant()
    def no_call_is_begun_twice(self) -> None:
        begun = Counter(chain.from_iterable(one.begun for one in self.bench.spawner.workers))
        assert max(begun.values(), default=0) <= 1

    @invariant()
    def a_call_gets_what_its_worker_has_made_of_it(self) -> None:
        for name, call in self.calls.items():
            if self.bench.is_over(name) and not call.left:
                self._check_outcome(name, call, self.bench.outcome(name))

    def _check_outcome(self, name: str, call: Call, outcome: Any) -> None:
        if isinstance(outcome, DeadlineExceeded):
            assert call.is_late(self.bench.loop.now)
        elif isinstance(outcome, HandlerError):
            assert call.fails
        elif isinstance(outcome, Draining):
            assert self.bench.state is not State.READY
        elif isinstance(outcome, WorkerFailed):
            dead = [one for one in self.bench.spawner.workers if not one.is_alive]
            was_begun = name in chain.from_iterable(one.begun for one in dead)
            assert was_begun or call.job.deaths == 3 or self.bench.state is State.FAILED
        elif isinstance(outcome, list):
            assert outcome == call.chunks
        else:
            assert outcome == name

    @invariant()
    def the_count_is_right(self) -> None:
        capacity = self.bench.engine.capacity
        held = [call.job for call in self.calls.values() if call.job.has_place]
        assert capacity.waiting == len(held) <= LIMIT + 2 * len(self.bench.posts) * LIMIT
        clients = Counter(job.client for job in held)
        del clients[None]
        assert capacity._held == clients
        known = {given.job for remote in self._remotes() for given in remote.calls.values()} | set(
            self.bench.fleet._preparing._waiting
        )
        for job in held:
            assert job.is_queued or job in known
        for call in self.calls.values():
            assert call.job.has_place or call.job.is_background or not call.job.is_queued

    @invariant()
    def front_and_workers_agree(self) -> None:
        """Each knows the same calls, unless the worker is silent or has left."""
        for remote in self._remotes():
            worker: Any = remote.process
            slots = [given.slot for given in remote.calls.values() if given.slot is not None]
            assert len(remote._free) + len(slots) == SLOTS
            assert set(remote.prepared.values()) <= set(remote.calls.values())
            assert all(self.bench.fleet._homes[job] is remote for job in remote.prepared)
            if not worker.is_mute and worker.has_socket:
                assert remote.calls.keys() == worker.calls.keys()
                assert remote.groups.keys() == {one for one, _ in worker.groups} - worker.returned
                assert remote.turns == len(worker.streams) - len(worker.stalled)

    @invariant()
    def streams_are_counted(self) -> None:
        for operation in self.operations.values():
            slots = [remote.slots.get(operation, (0, 0, 0)) for remote in self._remotes()]
            told = operation.open_streams, operation.stalled_streams, operation.parked_jobs
            assert told == tuple(map(sum, zip((0, 0, 0), *slots, strict=True)))

    @invariant()
    def an_idle_worker_leaves_nothing_in_the_queue(self) -> None:
        if self.bench.state is State.FAILED:
            return
        idle = [one for one in self.bench.fleet.workers if not one.dispatcher.load]
        waiting = [one for one in self.bench.engine._pipeline.jobs.by_operation if one]
        for operation in (queue.operation for queue in waiting):
            for worker in idle:
                is_full = operation.may_stream and worker.free_streams(operation) <= 0
                assert operation.batching or is_full
        assert not self.bench.fleet.workers or not self.bench.fleet._preparing._waiting

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        has_failed = self.bench.state is State.FAILED
        for name, call in self.calls.items():
            assert self.bench.is_over(name) or not (
                has_failed or call.left or call.is_late(self.bench.loop.now)
            )

    @invariant()
    def the_engine_fails_only_if_no_worker_is_left(self) -> None:
        left = any(post.may_serve_again for post in self.bench.posts)
        assert (self.bench.state is State.FAILED) == (not left)

    def open_calls(self) -> list[str]:
        return [name for name in self.calls if not self.bench.is_over(name)]

    def loaded(self) -> list[FakeWorker]:
        return [one for one in self.bench.spawner if one.is_loaded and one.has_socket]

    def loading(self) -> list[FakeWorker]:
        return [one for one in self.bench.spawner if not one.is_loaded and one.has_socket]

    def _remotes(self) -> list[RemoteWorker]:
        return [post.worker for post in self.bench.posts if post.worker is not None]

    # The end: no call is lost once workers serve again.

    def teardown(self) -> None:
        try:
            self._come_to_rest()
        finally:
            self.bench.close()
        self.nothing_is_broken()
        self.no_call_is_begun_twice()
        counts = self.bench.engine.calls.counts
        assert counts.admitted == len(self.calls)
        assert counts.refused == self.refused
        assert counts.succeeded + counts.failed + counts.cancelled == counts.admitted
        assert _descriptors() == self.descriptors

    def _come_to_rest(self) -> None:
        self.bench.spawner.error = None
        give_up = self.bench.loop.now + FOREVER
        while self.open_calls() or self._has_calls():
            assert self.bench.loop.now < give_up, f"{self.open_calls()} are lost"
            for worker in list(self.bench.spawner):
                worker.speak()
                self._do_all(worker)
            self.bench.pass_time(0.01 if self.loaded() else 1.0)
        self.the_count_is_right()
        self.front_and_workers_agree()
        self.a_call_gets_what_its_worker_has_made_of_it()
        assert self.bench.engine.capacity.waiting == 0
        if self.bench.state is not State.FAILED:
            assert self.bench.engine._pipeline.jobs.empty()

    def _has_calls(self) -> bool:
        return any(remote.calls for remote in self._remotes())

    def _do_all(self, worker: FakeWorker) -> None:
        if not worker.has_socket:
            return
        if not worker.is_loaded:
            worker.load()
        for stream in worker.streams:
            worker.end(stream)
        while self._begin_or_finish(worker):
            pass
        self.bench.rest()


def _is_plain(operation: Operation) -> bool:
    return not (operation.may_stream or operation.batching or operation.prepare)


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


Fleets.TestCase.settings = settings(max_examples=10, stateful_step_count=50, deadline=None)
TestFleets = Fleets.TestCase
