"""The bounded queue."""

import asyncio

import pytest

from potassium.engine.job import Job, Operation
from potassium.engine.queue import Capacity, JobQueue

OPERATION = Operation("work", lambda argument: argument)


def job() -> Job:
    return Job(OPERATION, None, asyncio.get_running_loop().create_future())


async def test_refuses_what_is_over_the_limit() -> None:
    """One job over the limit raises QueueFull and is not counted."""
    capacity = Capacity(2)
    queue = JobQueue(capacity)
    queue.put_nowait(job())
    queue.put_nowait(job())
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(job())
    assert (queue.qsize(), capacity.waiting) == (2, 2)


async def test_the_limit_holds_over_all_queues_together() -> None:
    """Two queues share one capacity."""
    capacity = Capacity(1)
    first, second = JobQueue(capacity), JobQueue(capacity)
    first.put_nowait(job())
    with pytest.raises(asyncio.QueueFull):
        second.put_nowait(job())
    first.get_nowait()
    second.put_nowait(job())


async def test_jobs_come_out_in_the_order_they_went_in() -> None:
    """First in, first out."""
    queue = JobQueue(Capacity(8))
    jobs = [job() for _ in range(8)]
    for one in jobs:
        queue.put_nowait(one)
    assert [queue.get_nowait() for _ in jobs] == jobs


async def test_a_discarded_job_makes_room() -> None:
    """A job that is called off leaves the line, and another fits in."""
    capacity = Capacity(1)
    queue = JobQueue(capacity)
    first, second = job(), job()
    queue.put_nowait(first)
    assert queue.discard(first)
    assert capacity.waiting == 0
    queue.put_nowait(second)
    assert queue.get_nowait() is second


async def test_discarding_what_is_not_in_line_changes_nothing() -> None:
    """A job that has left the queue already cannot be discarded."""
    capacity = Capacity(2)
    queue = JobQueue(capacity)
    first = job()
    queue.put_nowait(first)
    queue.get_nowait()
    assert not queue.discard(first)
    assert capacity.waiting == 0
