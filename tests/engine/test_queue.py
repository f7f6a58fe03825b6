"""The bounded queue."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.operations import operation_on

from potassium.config import Batch
from potassium.engine.job import Job, Priority
from potassium.engine.operation import Operation
from potassium.engine.queue import Capacity, JobQueue

OPERATION = operation_on("work", lambda argument: argument)


def job(priority: Priority = Priority.NORMAL) -> Job:
    return job_of(OPERATION, priority=priority)


def job_of(operation: Operation, **options: Any) -> Job:
    return Job(operation, None, asyncio.get_running_loop().create_future(), **options)


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
    capacity = Capacity(10)
    queue = fifo(capacity)
    for _ in range(waiting):
        queue.put_nowait(job())
    patient = background()
    queue.put_admitted(patient)
    before = 0
    for _ in range(100):
        while capacity.free:
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
        queue.put_admitted(one)
    assert capacity.waiting == 0
    calls = [job(), job()]
    for one in calls:
        queue.put_nowait(one)
    queue.put_admitted(jobs[2])
    assert not capacity.free
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
    queue.put_admitted(prepared)
    assert (queue.qsize(), capacity.waiting) == (1, 2)


async def test_without_priorities_background_jobs_keep_their_order() -> None:
    """Background jobs are first in, first out, behind the calls that were there before."""
    queue = fifo(Capacity(9))
    first, last = job(), job()
    jobs = [background() for _ in range(3)]
    queue.put_nowait(first)
    for one in jobs:
        queue.put_admitted(one)
    queue.put_nowait(last)
    assert [queue.get_nowait() for _ in range(5)] == [first, last, *jobs]


async def test_background_jobs_keep_their_order_while_results_are_finished() -> None:
    """A result that is being finished takes a place, and changes no order of those that wait."""
    capacity = Capacity(9)
    queue = fifo(capacity)
    batched = operation_on("batched", print, batch=Batch(max_size=8))
    jobs = []
    for results in (0, 1, 3):  # the second would have the rank of the first, the third a lower one
        for _ in range(results):
            capacity.enter(job())
        jobs.append(job_of(batched))
        jobs[-1].is_background = True
        queue.put_admitted(jobs[-1])
    assert [queue.get_nowait() for _ in jobs] == jobs


async def test_without_priorities_a_call_of_high_priority_is_like_any_other() -> None:
    """Only background jobs let others go first."""
    queue = fifo(Capacity(9))
    jobs = [job(priority) for priority in (Priority.NORMAL, Priority.HIGH, Priority.NORMAL)]
    for one in jobs:
        queue.put_nowait(one)
    assert [queue.get_nowait() for _ in jobs] == jobs


async def test_a_refusal_suggests_to_wait_as_long_as_all_who_wait_take() -> None:
    """Each counts with the time that its own operation takes, whoever is refused."""
    slow, quick = operation_on("slow", print), operation_on("quick", print)
    slow.service_time.add(5.0)
    quick.service_time.add(0.001)
    queue = JobQueue(Capacity(4))
    for operation in (slow, slow, slow, quick):
        queue.put_nowait(job_of(operation))
    assert queue.refusal(job_of(quick)).retry_after == 16
    assert queue.refusal(job_of(slow)).retry_after == 16


async def test_background_jobs_do_not_make_the_wait_negative() -> None:
    """They are queued, but take no places: both are counted, and neither is taken off the other."""
    operation = operation_on("x", print)
    operation.service_time.add(5.0)
    queue = JobQueue(Capacity(4))
    for _ in range(2):
        background = job_of(operation)
        background.is_background = True
        queue.put_nowait(background)
    other = operation_on("other", print)
    other.service_time.add(50.0)
    assert queue.estimated_wait(operation) == queue.estimated_wait(other) == 10


async def test_no_client_holds_more_places_than_are_free() -> None:
    """One client gets half of the places; a second one then finds a place, and a third one."""
    queue = fifo(Capacity(8))
    got = {client: fill(queue, client) for client in "abc"}
    assert got == {"a": 4, "b": 2, "c": 1}
    assert queue.capacity.free == 1
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(of_client("c"))
    queue.put_nowait(of_client("d"))


async def test_two_clients_that_ask_all_the_time_get_the_same() -> None:
    """Whoever came first, their shares become equal, and what one part of three is stays free."""
    queue = fifo(Capacity(9))
    fill(queue, "a")
    for _ in range(9):
        fill(queue, "b")
        fill(queue, "a")
        queue.get_nowait()
    fill(queue, "b")
    assert {queue.capacity.held(client) for client in "ab"} == {3}
    assert queue.capacity.free == 3


async def test_a_call_without_a_client_may_have_any_place() -> None:
    """Where shares do not matter, the queue is used to its end."""
    queue = fifo(Capacity(8))
    fill(queue, "a")
    assert fill(queue, None) == 4
    assert queue.capacity.free == 0


async def test_a_client_whose_share_is_full_is_told_so() -> None:
    """The message tells it from a full queue."""
    queue = fifo(Capacity(8))
    fill(queue, "a")
    assert "Your share of the queue is full: 4 of" in queue.refusal(of_client("a")).detail
    fill(queue, None)
    assert "The queue is full" in queue.refusal(of_client("a")).detail


def of_client(client: str | None) -> Job:
    one = job()
    one.client = client
    return one


def fill(queue: JobQueue, client: str | None) -> int:
    """Queue jobs of ``client`` until one is refused; return how many were not."""
    count = 0
    while True:
        try:
            queue.put_nowait(of_client(client))
        except asyncio.QueueFull:
            return count
        count += 1
