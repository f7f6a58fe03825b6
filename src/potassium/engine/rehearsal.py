"""Jobs that are no calls: they take the way of calls before there are any."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from potassium.engine.failure import Failure
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.side_pool import SidePool
from potassium.engine.stream import Stream
from potassium.errors import ClientLeft, PotassiumError

__all__ = ["rehearse"]


async def rehearse(
    operation: Operation,
    calls: Sequence[tuple[Any, Any]],
    open_stream: Callable[[Job], Stream[Job]] | None,
    pool: SidePool,
    begin: Callable[[Sequence[Job]], object],
) -> list[Job]:
    """Run jobs of ``operation`` through all of its steps, and their streams to the end.

    Return them; each has its outcome. On cancellation they are called off. How long they took is
    forgotten.

    Args:
        operation: what they are jobs of.
        calls: their arguments and origins.
        open_stream: opens the stream of one; None if it cannot push chunks itself.
        pool: prepares them.
        begin: lets them run, all at once, now that they are prepared; they are settled then.

    Raises:
        BaseException: the first that one of them has failed with, of any class.

    """
    future = asyncio.get_running_loop().create_future
    jobs = [
        Job(operation, argument, future(), origin=origin, open_stream=open_stream)
        for argument, origin in calls
    ]
    for job in jobs:
        job.is_rehearsal = True
    try:
        if operation.is_prepared:
            await asyncio.gather(*(_prepare(job, pool) for job in jobs))
            for job in jobs:
                _check(job.outcome)
        begin(jobs)
        for job in jobs:
            await _end_of(job)
        return jobs
    finally:
        for job in jobs:
            if not job.is_over:
                job.call_off(ClientLeft())
        operation.service_time.forget()


async def _prepare(job: Job, pool: SidePool) -> None:
    done = asyncio.Event()
    pool.rehearse(job, done.set)
    await done.wait()


async def _end_of(job: Job) -> None:
    """Wait until a job is over, and read its stream."""
    outcome = await job.future
    if type(outcome) is Stream:
        try:
            while await outcome.take() is not None:
                pass
        except PotassiumError:
            _check(outcome.failure)
            raise
    _check(outcome)


def _check(outcome: object) -> None:
    if type(outcome) is Failure:
        raise outcome.error
