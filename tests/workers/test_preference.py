"""Which calls a worker takes from the queue: of the first ones, those that it has prepared."""

import asyncio
from collections.abc import Sequence

import pytest
from support.operations import operation_on

from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.queue import Capacity, JobQueue
from potassium.engine.shared_step import SharedStep
from potassium.workers.dispatching import WINDOW, WorkerDispatcher
from potassium.workers.given import MOST_OVERTAKERS, Given


class FakeWorker:
    """Takes groups and does nothing with them."""

    has_room = True

    def collect(self) -> None:
        pass

    def __init__(self) -> None:
        self.taken: list[Job] = []
        self._prepared: dict[Job, Given] = {}

    def hand_over(self, group: Sequence[Job]) -> None:
        self.taken += group

    def look_now(self) -> None:
        """Look at nothing."""

    def free_streams(self, operation: Operation) -> int:
        return operation.free_streams

    def look_at_all(self) -> None:
        """Do nothing: the test looks."""

    def may_overtake(self, job: Job) -> bool:
        given = self._prepared.setdefault(job, Given(job, 1, None, 0.0))
        return given.may_be_overtaken()


class Bench:
    """A queue that two workers share, of which the first one does not look at it."""

    def __init__(self) -> None:
        self.capacity = Capacity(1000)
        self.queue = JobQueue(self.capacity)
        self.other, self.worker = FakeWorker(), FakeWorker()
        self.homes: dict[Job, FakeWorker] = {}
        self.dispatcher = WorkerDispatcher(self.queue, self.worker, homes=self.homes)
        self.operation = operation_on("work", lambda argument: argument)
        self.operation.service_time.add(1.0)

    def put(self, home: FakeWorker | None) -> Job:
        job = Job(self.operation, None, asyncio.get_running_loop().create_future())
        self.queue.put_nowait(job)
        if home is not None:
            self.homes[job] = home
        return job

    def take(self) -> Job:
        """Let the worker take a call, and end it."""
        self.dispatcher.look(ahead=False)
        (job,) = group = self.dispatcher.handed_over[0]
        self.dispatcher.ended(group, 0.0)
        self.homes.pop(job, None)
        return job


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_worker_takes_a_call_that_it_has_prepared(bench: Bench) -> None:
    """Before one that it would have to prepare again."""
    first, own, last = bench.put(bench.other), bench.put(bench.worker), bench.put(bench.worker)
    assert [bench.take() for _ in range(3)] == [own, last, first]
    assert bench.capacity.waiting == 0


async def test_calls_that_no_worker_has_prepared_keep_their_order(bench: Bench) -> None:
    first, own = bench.put(None), bench.put(bench.worker)
    assert [bench.take(), bench.take()] == [first, own]


async def test_a_worker_is_not_idle_while_another_ones_calls_wait(bench: Bench) -> None:
    first = bench.put(bench.other)
    assert bench.take() is first


async def test_a_worker_looks_for_its_own_calls_only_at_the_head(bench: Bench) -> None:
    first = bench.put(bench.other)
    for _ in range(WINDOW - 1):
        bench.put(bench.other)
    bench.put(bench.worker)
    assert bench.take() is first


async def test_no_call_is_overtaken_for_ever(bench: Bench) -> None:
    first = bench.put(bench.other)
    taken = []
    for _ in range(3 * MOST_OVERTAKERS):
        bench.put(bench.worker)
        taken.append(bench.take())
    assert taken.index(first) == MOST_OVERTAKERS


async def test_a_worker_takes_one_stream_at_a_time(bench: Bench) -> None:
    """Not all that could step together: another worker may have nothing to do."""
    step = SharedStep(lambda steps, _: steps, max_rows=4)
    bench.operation = operation_on(
        "chat", lambda argument: argument, streams=4, may_stream=True, shared_step=step
    )
    first, _ = bench.put(None), bench.put(None)
    bench.dispatcher.look(ahead=False)
    assert [list(group) for group in bench.dispatcher.handed_over] == [[first]]
