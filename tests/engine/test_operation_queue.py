"""The waiting jobs of one operation."""

import gc
import random
import weakref

import pytest
from support.operations import operation_on

from potassium.engine.job import Job
from potassium.engine.operation_queue import STALE, OperationQueue

OPERATION = operation_on("work", lambda _: None)


def job(rank: int) -> Job:
    job = Job(OPERATION, rank, future=None)  # type: ignore[arg-type]  # nobody waits
    job.rank = rank
    return job


def line_of(*ranks: int) -> tuple[OperationQueue, dict[int, Job]]:
    line, jobs = OperationQueue(OPERATION), {rank: job(rank) for rank in ranks}
    for one in jobs.values():
        line.add(one)
    return line, jobs


def emptied(line: OperationQueue) -> list[float]:
    ranks = []
    while line:
        first = line.first
        assert line.pop() is first
        assert not first.is_queued
        ranks.append(first.rank)
    return ranks


def test_jobs_are_in_order_of_rank() -> None:
    """Whatever order jobs are added in, the one with the lowest rank is first."""
    line, _ = line_of(3, 1, 5, 2, 4)
    assert len(line) == 5
    assert emptied(line) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("leaves", [[1], [3], [5], [1, 2], [2, 1], [4, 5], [1, 2, 3, 4, 5]])
def test_any_job_may_leave(leaves: list[int]) -> None:
    """A job that leaves is not popped, is not counted, and is not first."""
    line, jobs = line_of(1, 2, 3, 4, 5)
    for rank in leaves:
        line.remove(jobs[rank])
        assert not jobs[rank].is_queued
    assert len(line) == 5 - len(leaves)
    assert emptied(line) == [rank for rank in jobs if rank not in leaves]


def test_who_comes_takes_its_place_among_those_that_have_left() -> None:
    """A queue that some jobs have left keeps its order when others are added."""
    line, jobs = line_of(10, 20, 30, 40)
    for rank in (20, 40):
        line.remove(jobs[rank])
    for rank in (25, 35, 5):
        line.add(job(rank))
    assert emptied(line) == [5, 10, 25, 30, 35]


def test_those_that_have_left_are_let_go() -> None:
    """However many jobs leave behind one that stays, only a bounded number of them is kept."""
    line = OperationQueue(OPERATION)
    line.add(job(0))
    left = []
    for rank in range(1, 1000):
        one = job(rank)
        line.add(one)
        line.remove(one)
        left.append(weakref.ref(one))
        del one
    gc.collect()
    assert sum(reference() is not None for reference in left) <= STALE + 2
    assert emptied(line) == [0]


@pytest.mark.parametrize("seed", range(20))
def test_it_is_a_sorted_list(seed: int) -> None:
    """Adding, removing and popping, in any order, works as it does on a sorted list."""
    draw = random.Random(seed)  # noqa: S311 - chance that repeats itself
    line, model = OperationQueue(OPERATION), list[Job]()
    ranks = draw.sample(range(10_000), 500)
    for rank in ranks:
        if draw.random() < 0.6 or not model:
            model.append(job(rank))
            line.add(model[-1])
            model.sort(key=lambda one: one.rank)
        elif draw.random() < 0.5:
            line.remove(model.pop(draw.randrange(len(model))))
        else:
            assert line.pop() is model.pop(0)
        assert len(line) == len(model)
        assert not model or line.first is model[0]
