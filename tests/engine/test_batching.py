"""When a batch leaves and what it contains, on a clock that only the tests advance."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from support.manual_time import ManualLoop
from support.operations import operation_on

from potassium.config import Batch
from potassium.engine.batch_queue import QUIET
from potassium.engine.batching import Batching
from potassium.engine.dispatcher import GROUP_TIME, Dispatcher
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.queue import Capacity, JobQueue
from potassium.errors import UsageError

MANY = 1000  # callers, more than ever wait in these tests
LONG = 60.0  # seconds


class FakeRunner:
    """Takes groups and does nothing with them."""

    def __init__(self) -> None:
        self.groups: list[Sequence[Job]] = []

    def hand_over(self, group: Sequence[Job]) -> None:
        self.groups.append(group)

    def free_streams(self, operation: Operation) -> int:
        return operation.free_streams - operation.parked_jobs


class Bench:
    """A dispatcher of batches between a real queue and a fake thread."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.capacity = Capacity(4096)
        self.queue = JobQueue(self.capacity, clock=self.loop.time)
        self.runner = FakeRunner()
        clock = self.loop.time
        self.dispatcher = Dispatcher(self.queue, self.runner, clock=clock)

    def operation(self, *, callers: int = MANY, **rule: Any) -> Operation:
        """Return a batched operation that recently had ``callers`` callers at a time."""
        operation = operation_on("batch", lambda _: None, batch=Batch(**rule))
        assert operation.batching is not None
        for _ in range(callers):
            operation.batching.callers.came(self.loop.now)
        for _ in range(callers):
            operation.batching.callers.went(self.loop.now)
        return operation

    def arrive(self, operation: Operation, *costs: float) -> list[Job]:
        jobs = [Job(operation, cost, self.loop.create_future()) for cost in costs]
        for job in jobs:
            if operation.batching is not None:
                operation.batching.callers.came(self.loop.now)
                job.cost = 1 if operation.batching.rule.cost is None else job.argument
            self.queue.put_nowait(job)
        self.loop.call_soon(self.dispatcher.wake)
        self.loop.rest()
        return jobs

    def wait(self, seconds: float) -> None:
        self.loop.now += seconds
        self.loop.rest()

    def done(self) -> None:
        """Let the thread finish the group that it is running."""
        for job in self.dispatcher.handed_over[0]:
            if job.operation.batching is not None:
                job.operation.batching.callers.went(self.loop.now)
        self.loop.call_soon(self.dispatcher.group_done, self.loop.time())
        self.loop.rest()

    @property
    def left(self) -> list[list[float]]:
        """The groups that have left so far."""
        return [[job.argument for job in group] for group in self.runner.groups]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    with closing(bench.loop):
        yield bench
        in_the_inbox = sum(map(len, list(bench.dispatcher.handed_over)[1:]))
        assert bench.capacity.waiting == bench.queue.qsize() + in_the_inbox


def itself(item: float) -> float:
    return item


def test_a_full_batch_leaves_at_once(bench: Bench) -> None:
    """A batch with the maximum number of items does not wait for more."""
    operation = bench.operation(max_size=4, max_delay=LONG)
    bench.arrive(operation, 1, 2, 3)
    assert bench.left == []
    bench.arrive(operation, 4)
    assert bench.left == [[1, 2, 3, 4]]


def test_a_batch_as_costly_as_may_be_leaves_at_once(bench: Bench) -> None:
    """If one more item would cost too much, the batch does not wait for one."""
    operation = bench.operation(max_delay=LONG, cost=itself, max_cost=100)
    bench.arrive(operation, 30, 30)
    assert bench.left == []
    bench.arrive(operation, 30)
    assert bench.left == [[30, 30, 30]]


def test_a_batch_that_somebody_does_not_fit_into_leaves_at_once(bench: Bench) -> None:
    """An item that has to stay behind shows that the batch is full."""
    operation = bench.operation(max_delay=LONG, cost=itself, max_cost=100)
    bench.arrive(operation, 10, 10)
    assert bench.left == []
    bench.arrive(operation, 45)
    assert bench.left == [[10, 10]]


def test_the_oldest_item_waits_for_max_delay_at_most(bench: Bench) -> None:
    """A batch leaves when its time is over, even if others keep arriving."""
    operation = bench.operation(max_delay=QUIET * 2.25)
    for number in range(5):
        assert bench.left == []
        bench.arrive(operation, number)
        bench.wait(QUIET / 2)
    assert bench.left == [[0, 1, 2, 3, 4]]


def test_it_waits_as_long_as_others_keep_coming(bench: Bench) -> None:
    """A batch gathers while items arrive in quick succession, and then no longer."""
    operation = bench.operation(max_delay=LONG)
    for number in range(20):
        bench.arrive(operation, number)
        bench.wait(QUIET * 0.9)
        assert bench.left == []
    bench.wait(QUIET * 0.2)
    assert bench.left == [list(range(20))]


def test_it_leaves_at_once_when_all_callers_wait_in_it(bench: Bench) -> None:
    """If three callers call at a time, a batch that holds three calls waits for no more."""
    operation = bench.operation(callers=3, max_delay=LONG)
    bench.arrive(operation, 1, 2)
    assert bench.left == []
    bench.arrive(operation, 3)
    assert bench.left == [[1, 2, 3]]


def test_a_lone_caller_never_waits(bench: Bench) -> None:
    """If one caller makes one call after another, each call leaves at once."""
    operation = bench.operation(callers=1, max_delay=LONG)
    for number in range(5):
        bench.arrive(operation, number)
        assert len(bench.left) == number + 1
        bench.wait(0.01)
        bench.done()


def test_without_max_delay_nobody_waits(bench: Bench) -> None:
    """With max_delay=0, a batch is whatever waits when the thread becomes free."""
    operation = bench.operation(max_delay=0)
    bench.arrive(operation, 1)
    bench.arrive(operation, 2)
    bench.arrive(operation, 3)
    bench.done()
    assert bench.left == [[1], [2, 3]]


def test_it_gathers_until_the_thread_is_free(bench: Bench) -> None:
    """While the thread is busy, even a batch that is due takes in new items; then it leaves."""
    operation = bench.operation(callers=0, max_delay=QUIET, max_size=4)
    bench.arrive(operation, 0)
    for number in range(1, 4):
        bench.arrive(operation, number)
        bench.wait(QUIET)
    assert bench.left == [[0]]
    bench.done()
    assert bench.left == [[0], [1, 2, 3]]


def test_where_many_wait_a_batch_does_not_wait_for_the_thread(bench: Bench) -> None:
    """Exactly one batch is handed over behind the running one, so the thread has it at once."""
    operation = bench.operation(callers=0, max_delay=LONG, max_size=2)
    bench.arrive(operation, *range(7))
    assert bench.left == [[0, 1], [2, 3]]
    bench.done()
    assert bench.left == [[0, 1], [2, 3], [4, 5]]
    bench.done()
    assert len(bench.left) == 3  # the one that is left is not enough


def test_where_much_waits_a_batch_by_cost_does_not_wait_for_the_thread(bench: Bench) -> None:
    """Enough jobs wait if, by cost, they fill a batch twice."""
    operation = bench.operation(callers=0, max_delay=LONG, cost=itself, max_cost=20)
    bench.arrive(operation, 10, 10)
    bench.arrive(operation, 10, 2, 3, 4, 20)
    assert bench.left == [[10, 10]]
    bench.arrive(operation, 1)
    assert bench.left == [[10, 10], [10, 4]]


def test_others_go_before_a_batch_that_gathers(bench: Bench) -> None:
    """A call of another operation does not wait for a batch that is not due."""
    operation, other = bench.operation(max_delay=LONG), operation_on("other", lambda _: None)
    bench.arrive(operation, 1)
    bench.arrive(other, 2)
    assert bench.left == [[2]]


def test_others_go_before_a_stream_without_a_place(bench: Bench) -> None:
    """A call of another operation does not wait for one whose operation has no free slot."""
    streams, other = operation_on("stream", lambda _: None), operation_on("other", lambda _: None)
    streams.may_stream, streams.open_streams = True, 1
    other.service_time.add(GROUP_TIME / 10)
    bench.arrive(streams, 1)
    bench.arrive(other, 2, 3)
    bench.done()
    assert bench.left == [[2, 3]]
    streams.open_streams = 0
    bench.arrive(other, 4)
    assert bench.left == [[2, 3], [1], [4]]


def test_nobody_goes_before_a_batch_that_is_due(bench: Bench) -> None:
    """Calls that arrive later than a batch's oldest item wait for the batch once it is due."""
    operation, other = bench.operation(max_delay=QUIET), operation_on("other", lambda _: None)
    bench.arrive(operation, 1)
    bench.arrive(other, 2)
    bench.wait(QUIET)
    bench.arrive(other, 3)
    bench.done()
    bench.done()
    assert bench.left == [[2], [1], [3]]


def test_each_operation_has_its_own_delay(bench: Bench) -> None:
    """A batch leaves on time, even if another one goes on gathering."""
    hasty, patient = bench.operation(max_delay=QUIET / 4), bench.operation(max_delay=LONG)
    bench.arrive(hasty, 1)
    bench.arrive(patient, 2)
    bench.wait(QUIET / 4)
    assert bench.left == [[1]]


def test_a_closed_dispatcher_lets_no_batch_go(bench: Bench) -> None:
    """A batch that is gathering when the dispatcher is closed stays in the queue."""
    bench.arrive(bench.operation(max_delay=QUIET), 1)
    bench.dispatcher.close()
    bench.wait(LONG)
    assert bench.left == []
    assert bench.queue.qsize() == 1


def test_who_is_called_off_leaves_before_the_batch_does(bench: Bench) -> None:
    """An item that is called off while its batch gathers is not in it, not even the oldest one."""
    operation = bench.operation(max_delay=LONG, cost=itself)
    jobs = bench.arrive(operation, 5, 6, 6, 7)
    bench.queue.discard(jobs[0])
    bench.queue.discard(jobs[2])
    bench.wait(QUIET)
    assert bench.left == [[6, 7]]


def test_where_all_are_called_off_no_batch_leaves(bench: Bench) -> None:
    """If all its items are called off, a batch does not leave."""
    operation = bench.operation(max_delay=LONG)
    for job in bench.arrive(operation, 1, 2):
        bench.queue.discard(job)
    bench.wait(QUIET)
    assert bench.left == []


@pytest.mark.parametrize("cost", [-1, float("inf"), float("nan"), "12", None])
def test_a_cost_is_a_number_from_zero_on(cost: Any) -> None:
    """Any other cost is a mistake in the app, and the error says so."""
    with pytest.raises(UsageError, match="a number >= 0"):
        Batching(Batch(cost=lambda _: cost)).cost_of("item")
