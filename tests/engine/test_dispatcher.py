"""Handing jobs from the queue to the thread, in groups."""

import asyncio
from collections.abc import Sequence

import pytest
from support.operations import operation_on

from potassium.engine.dispatcher import GROUP_TIME, LONGEST_LAG, PREFETCH_TIME, Dispatcher
from potassium.engine.job import Job, Priority
from potassium.engine.operation import Operation
from potassium.engine.queue import Capacity, JobQueue
from potassium.engine.shared_step import SharedStep

LIMIT = 4096


class FakeRunner:
    """Takes groups and does nothing with them."""

    def __init__(self) -> None:
        self.groups: list[Sequence[Job]] = []

    def hand_over(self, group: Sequence[Job]) -> None:
        self.groups.append(group)

    def free_streams(self, operation: Operation) -> int:
        return operation.free_streams - operation.parked_jobs


class Bench:
    """A dispatcher between a real queue and a fake thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.capacity = Capacity(limit)
        self.queue = JobQueue(self.capacity)
        self.runner = FakeRunner()
        self.now = 0.0
        self.dispatcher = Dispatcher(self.queue, self.runner, clock=lambda: self.now)

    def put(self, count: int, *, seconds: float | None) -> None:
        operation = operation_on("work", lambda argument: argument)
        if seconds is not None:
            operation.service_time.add(seconds)
        self.put_of(operation, count)

    def put_of(self, operation: Operation, count: int) -> None:
        for _ in range(count):
            self.queue.put_nowait(Job(operation, None, asyncio.get_running_loop().create_future()))
        self.dispatcher.wake()

    def sizes(self) -> list[int]:
        return [len(group) for group in self.runner.groups]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def settle() -> None:
    """Let the dispatcher do all that it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_long_jobs_travel_alone(bench: Bench) -> None:
    """A job that takes as long as a group may is in a group of its own."""
    bench.put(5, seconds=GROUP_TIME)
    await settle()
    assert set(bench.sizes()) == {1}


async def test_jobs_of_unknown_length_travel_alone(bench: Bench) -> None:
    """A job that was never measured shares its group with no other."""
    bench.put(5, seconds=None)
    await settle()
    assert set(bench.sizes()) == {1}


async def test_jobs_that_are_long_on_average_travel_alone(bench: Bench) -> None:
    """Jobs that are long on average do not share a group, even if some of them were short."""
    operation = operation_on("mixed", lambda argument: argument)
    for seconds in (0.00001, *[0.02] * 50, 0.00001):
        operation.service_time.add(seconds)
    for _ in range(5):
        future = asyncio.get_running_loop().create_future()
        bench.queue.put_nowait(Job(operation, None, future))
    bench.dispatcher.wake()
    await settle()
    assert set(bench.sizes()) == {1}


async def test_short_jobs_travel_together(bench: Bench) -> None:
    """A group has as many jobs as fill about a millisecond."""
    bench.put(3000, seconds=GROUP_TIME / 1000)
    await settle()
    assert len(bench.sizes()) == 1
    assert 999 <= bench.sizes()[0] <= 1001


async def test_the_whole_backlog_goes_in_one_group(bench: Bench) -> None:
    """A backlog of less than a millisecond is handed over at once."""
    bench.put(50, seconds=0.000002)
    await settle()
    assert bench.sizes() == [50]


async def test_the_thread_has_its_next_job_before_it_ends_this_one(bench: Bench) -> None:
    """The thread has two groups of long jobs, and gets a third only when one has ended."""
    bench.put(5, seconds=0.01)
    await settle()
    assert len(bench.runner.groups) == 2
    bench.dispatcher.group_done(bench.now)
    await settle()
    assert len(bench.runner.groups) == 3


async def test_a_late_loop_gives_the_thread_more_work(bench: Bench) -> None:
    """If the loop notices 75 ms late that a group is done, the thread has that much work ahead."""
    bench.put(20, seconds=0.02)
    await settle()
    done_at, bench.now = bench.now, bench.now + 0.075
    bench.dispatcher.group_done(done_at)
    await settle()
    assert len(bench.dispatcher.handed_over) == 1 + 4  # the one that runs, and 80 ms


async def test_once_the_loop_is_in_time_again_the_thread_has_two_groups(bench: Bench) -> None:
    """The thread gets more work ahead only for as long as the loop was late recently."""
    bench.put(200, seconds=0.02)
    await settle()
    done_at, bench.now = bench.now, bench.now + 0.075
    bench.dispatcher.group_done(done_at)
    for _ in range(20):
        await settle()
        bench.dispatcher.group_done(bench.now)
    await settle()
    assert len(bench.dispatcher.handed_over) == 2


async def test_what_a_late_loop_hands_over_is_bounded(bench: Bench) -> None:
    """A process that was stopped for an hour does not hand over the whole queue."""
    bench.put(200, seconds=0.02)
    await settle()
    bench.now += 3600
    bench.dispatcher.group_done(0.0)
    await settle()
    assert len(bench.dispatcher.handed_over) <= 1 + LONGEST_LAG / 0.02 + 1


async def test_of_short_jobs_only_one_group_is_under_way(bench: Bench) -> None:
    """A second group of jobs that take microseconds waits until the first has ended."""
    bench.put(1, seconds=PREFETCH_TIME / 2)
    await settle()
    bench.put(1, seconds=PREFETCH_TIME / 2)
    await settle()
    assert bench.sizes() == [1]
    bench.dispatcher.group_done(bench.now)
    await settle()
    assert bench.sizes() == [1, 1]


async def test_a_job_in_the_inbox_counts_as_waiting(bench: Bench) -> None:
    """The running job does not count as waiting; the one behind it in the inbox does."""
    bench.put(5, seconds=0.01)
    await settle()
    assert bench.capacity.waiting == 4
    bench.dispatcher.group_done(bench.now)
    assert bench.capacity.waiting == 3
    await settle()
    assert bench.capacity.waiting == 3


async def test_the_count_is_zero_when_all_is_done(bench: Bench) -> None:
    """After any number of groups, long and short, no job counts as waiting."""
    for seconds in (0.01, 0.000001, None, 0.0005):
        bench.put(7, seconds=seconds)
    for done in range(100):
        await settle()
        if done == len(bench.runner.groups):
            break
        bench.dispatcher.group_done(bench.now)
    assert sum(bench.sizes()) == 28
    assert bench.capacity.waiting == 0


async def test_order_is_kept(bench: Bench) -> None:
    """Groups, and the jobs in them, are in order of admission."""
    operation = operation_on("work", lambda argument: argument)
    operation.service_time.add(GROUP_TIME / 3)
    for number in range(30):
        future = asyncio.get_running_loop().create_future()
        bench.queue.put_nowait(Job(operation, number, future))
    bench.dispatcher.wake()
    for _ in range(30):
        await settle()
        if bench.dispatcher.handed_over:
            bench.dispatcher.group_done(bench.now)
    assert [job.argument for group in bench.runner.groups for job in group] == list(range(30))


async def test_closed_it_leaves_the_queue_as_it_is(bench: Bench) -> None:
    """A closed dispatcher takes no more jobs."""
    bench.dispatcher.wake()
    bench.dispatcher.close()
    bench.put(3, seconds=0.01)
    await settle()
    assert bench.queue.qsize() == bench.capacity.waiting == 3


def put_background(bench: Bench, operation: Operation, argument: object) -> None:
    future = asyncio.get_running_loop().create_future()
    job = Job(operation, argument, future, priority=Priority.LOW)
    job.is_background = True
    bench.queue.put_admitted(job)
    bench.dispatcher.wake()


def arguments(bench: Bench) -> list[object]:
    return [job.argument for group in bench.runner.groups for job in group]


async def test_a_background_job_begins_however_full_the_queue_is_kept() -> None:
    """Clients take each place as soon as it is free: 16 calls go before the job, and not one more.

    The call that runs when it comes, and the one that the thread already has, do not count.
    """
    bench = Bench(limit=16)
    call = operation_on("call", lambda argument: argument)
    call.service_time.add(0.02)

    def fill() -> None:
        while bench.capacity.free:
            bench.queue.put_nowait(Job(call, "call", asyncio.get_running_loop().create_future()))
        bench.dispatcher.wake()

    fill()
    await settle()
    fill()
    put_background(bench, operation_on("job", lambda argument: argument), "job")
    for _ in range(100):
        await settle()
        fill()
        bench.dispatcher.group_done(bench.now)
        fill()
    assert arguments(bench).index("job") == 2 + 16 - 1  # the thread's second one has a place


async def test_a_background_job_is_handed_over_when_the_thread_is_free(bench: Bench) -> None:
    """Unlike a call, it is not handed over early: a call that arrives meanwhile goes first."""
    long = operation_on("long", lambda argument: argument)
    long.service_time.add(0.01)
    for number in range(2):
        put_background(bench, long, number)
    await settle()
    assert arguments(bench) == [0]
    future = asyncio.get_running_loop().create_future()
    bench.queue.put_nowait(Job(long, "call", future))
    bench.dispatcher.wake()
    await settle()
    assert arguments(bench) == [0, "call"]
    bench.dispatcher.group_done(bench.now)
    await settle()
    assert arguments(bench) == [0, "call"]
    bench.dispatcher.group_done(bench.now)
    await settle()
    assert arguments(bench) == [0, "call", 1]


async def test_a_background_job_of_a_free_thread_goes_at_once(bench: Bench) -> None:
    """If the thread is free, a background job is handed over at once."""
    put_background(bench, operation_on("any", lambda argument: argument), "job")
    await settle()
    assert arguments(bench) == ["job"]


async def test_short_background_jobs_travel_together(bench: Bench) -> None:
    """Short background jobs delay a direct call by about a millisecond, as short calls do."""
    short = operation_on("short", lambda argument: argument)
    short.service_time.add(GROUP_TIME / 10)
    for number in range(30):
        put_background(bench, short, number)
    await settle()
    (size,) = bench.sizes()
    assert 9 <= size <= 11


@pytest.mark.parametrize(("together", "sizes"), [(True, [4]), (False, [1, 1, 1, 1])])
async def test_streams_that_step_together_go_together(
    bench: Bench, together: bool, sizes: list[int]
) -> None:
    """As many as may be open, so that they are all in the same step soon."""
    step = SharedStep(lambda steps, _: steps, max_rows=4) if together else None
    operation = operation_on(
        "chat", lambda argument: argument, streams=4, may_stream=True, shared_step=step
    )
    bench.put_of(operation, 5)
    for size in sizes:
        await settle()
        operation.open_streams += size
        bench.dispatcher.group_done(0.0)
    await settle()
    assert bench.sizes() == sizes


async def test_streams_that_step_together_pass_nobody(bench: Bench) -> None:
    """They take along those of their handler up to the first call of another one."""
    step = SharedStep(lambda steps, _: steps, max_rows=4)
    operation = operation_on(
        "chat", lambda argument: argument, streams=4, may_stream=True, shared_step=step
    )
    bench.put_of(operation, 2)
    bench.put(1, seconds=GROUP_TIME)
    bench.put_of(operation, 1)
    for _ in range(3):
        await settle()
        bench.dispatcher.group_done(0.0)
    await settle()
    assert bench.sizes() == [2, 1, 1]


async def test_streams_whose_beginning_may_take_long_go_alone(bench: Bench) -> None:
    """What a handler does before it has a generator is work that nothing is known about."""
    step = SharedStep(lambda steps, _: steps, max_rows=4, begins_at_once=False)
    operation = operation_on(
        "chat", lambda argument: argument, streams=4, may_stream=True, shared_step=step
    )
    bench.put_of(operation, 3)
    await settle()
    assert set(bench.sizes()) == {1}


async def test_streams_take_no_background_jobs_along(bench: Bench) -> None:
    """Those wait until the thread is free."""
    step = SharedStep(lambda steps, _: steps, max_rows=4)
    operation = operation_on(
        "chat", lambda argument: argument, streams=4, may_stream=True, shared_step=step
    )
    bench.put_of(operation, 1)
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.is_background = True
    bench.queue.put_nowait(job)
    bench.dispatcher.wake()
    await settle()
    assert bench.sizes() == [1]
