"""The bounded queue."""

import asyncio
from collections.abc import Callable

import pytest
from support.operations import operation_on

from potassium.engine.job import Job, Priority
from potassium.engine.queue import Capacity, JobQueue

OPERATION = operation_on("work", lambda argument: argument)


def job(priority: Priority = Priority.NORMAL) -> Job:
    future = asyncio.get_running_loop().create_future()
    return Job(OPERATION, None, future, priority=priority)


def fifo(capacity: Capacity) -> JobQueue:
    return JobQueue(capacity)


def by_priority(capacity: Capacity) -> JobQueue:
    return JobQueue(capacity, priorities=True)


Kind = Callable[[Capacity], JobQueue]
KINDS = [fifo, by_priority]


@pytest.mark.parametrize("kind", KINDS)
async def test_refuses_what_is_over_the_limit(kind: Kind) -> None:
    """One job over the limit raises QueueFull and is not counted."""
    capacity = Capacity(2)
    queue = kind(capacity)
    queue.put_nowait(job())
    queue.put_nowait(job())
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(job())
    assert (queue.qsize(), capacity.waiting) == (2, 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_limit_holds_over_all_queues_together(kind: Kind) -> None:
    """Two queues share one capacity."""
    capacity = Capacity(1)
    first, second = kind(capacity), kind(capacity)
    first.put_nowait(job())
    with pytest.raises(asyncio.QueueFull):
        second.put_nowait(job())
    first.get_nowait()
    second.put_nowait(job())


@pytest.mark.parametrize("kind", KINDS)
async def test_jobs_come_out_in_the_order_they_went_in(kind: Kind) -> None:
    """First in, first out."""
    queue = kind(Capacity(8))
    jobs = [job() for _ in range(8)]
    for one in jobs:
        queue.put_nowait(one)
    assert [queue.get_nowait() for _ in jobs] == jobs


@pytest.mark.parametrize("kind", KINDS)
async def test_a_discarded_job_makes_room(kind: Kind) -> None:
    """A job that is called off leaves the queue, and another fits in."""
    capacity = Capacity(1)
    queue = kind(capacity)
    first, second = job(), job()
    queue.put_nowait(first)
    queue.discard(first)
    assert capacity.waiting == 0
    queue.put_nowait(second)
    assert queue.get_nowait() is second


@pytest.mark.parametrize("kind", KINDS)
async def test_discarding_what_is_not_in_line_changes_nothing(kind: Kind) -> None:
    """Discarding a job that has already left the queue changes nothing."""
    capacity = Capacity(2)
    queue = kind(capacity)
    first = job()
    queue.put_nowait(first)
    queue.get_nowait()
    queue.discard(first)
    assert (queue.qsize(), capacity.waiting) == (0, 0)


async def test_higher_priorities_come_out_first() -> None:
    """High goes before normal, normal before low, and each in order of admission."""
    queue = by_priority(Capacity(9))
    jobs = [job(priority) for _ in range(3) for priority in Priority]
    for one in jobs:
        queue.put_nowait(one)
    out = [queue.get_nowait() for _ in jobs]
    assert out == sorted(jobs, key=lambda one: -one.priority)
    assert queue.empty()


@pytest.mark.parametrize(("priority", "bound"), [(Priority.NORMAL, 9), (Priority.LOW, 19)])
async def test_no_priority_starves(priority: Priority, bound: int) -> None:
    """However many high-priority jobs arrive, only a bounded number of them overtake a job."""
    queue = by_priority(Capacity(10))
    patient = job(priority)
    queue.put_nowait(patient)
    overtaken = 0
    for _ in range(100):
        queue.put_nowait(job(Priority.HIGH))
        if queue.get_nowait() is patient:
            break
        overtaken += 1
    assert overtaken == bound


def background() -> Job:
    one = job(Priority.LOW)
    one.is_background = True
    return one


@pytest.mark.parametrize("waiting", [0, 4, 10])
async def test_no_more_calls_go_before_a_background_job_than_may_wait(waiting: int) -> None:
    """Those that wait when it comes count, and later ones go before it, up to the capacity.

    This holds however full the queue is kept: it does not starve.
    """
    queue = fifo(Capacity(10))
    for _ in range(waiting):
        queue.put_nowait(job())
    patient = background()
    queue.put_reserved(patient)
    before = 0
    for _ in range(100):
        while not queue.full():
            queue.put_nowait(job())
        if queue.get_nowait() is patient:
            break
        before += 1
    assert before == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_a_background_job_takes_no_place(kind: Kind) -> None:
    """It enters a full queue, and as many direct calls fit in as without it."""
    capacity = Capacity(2)
    queue = kind(capacity)
    jobs = [background() for _ in range(3)]
    for one in jobs[:2]:
        queue.put_reserved(one)
    assert capacity.waiting == 0
    calls = [job(), job()]
    for one in calls:
        queue.put_nowait(one)
    queue.put_reserved(jobs[2])
    assert queue.full()
    queue.discard(jobs[0])
    assert (queue.qsize(), capacity.waiting) == (4, 2)
    assert {queue.get_nowait() for _ in range(4)} == {*calls, *jobs[1:]}
    assert capacity.waiting == 0


async def test_a_job_with_a_reserved_place_is_queued_however_many_wait() -> None:
    """Results that are being finished count too, and may be more than the limit."""
    capacity = Capacity(1)
    queue = fifo(capacity)
    prepared, finished = job(), job()
    queue.reserve(prepared)
    capacity.enter(finished)
    queue.put_reserved(prepared)
    assert (queue.qsize(), capacity.waiting) == (1, 2)


async def test_without_priorities_background_jobs_keep_their_order() -> None:
    """Background jobs are first in, first out, behind the calls that were there before."""
    queue = fifo(Capacity(9))
    first, last = job(), job()
    jobs = [background() for _ in range(3)]
    queue.put_nowait(first)
    for one in jobs:
        queue.put_reserved(one)
    queue.put_nowait(last)
    assert [queue.get_nowait() for _ in range(5)] == [first, last, *jobs]


async def test_without_priorities_a_call_of_high_priority_is_like_any_other() -> None:
    """Only background jobs let others go first."""
    queue = fifo(Capacity(9))
    jobs = [job(priority) for priority in (Priority.NORMAL, Priority.HIGH, Priority.NORMAL)]
    for one in jobs:
        queue.put_nowait(one)
    assert [queue.get_nowait() for _ in jobs] == jobs
