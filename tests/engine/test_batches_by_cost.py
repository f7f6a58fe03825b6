"""Which waiting jobs make up a batch."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from support.operations import operation_on

from potassium.config import Batch
from potassium.engine.batch_queue import BatchQueue
from potassium.engine.batching import Batching
from potassium.engine.job import Job


def waiting(*costs: float, **rule: Any) -> tuple[BatchQueue, list[Job]]:
    """Return a queue that holds jobs of ``costs``, in this order."""
    queue = queue_by(Batching(Batch(cost=float, **rule)))
    jobs = [stand(queue, rank, cost) for rank, cost in enumerate(costs, 1)]
    return queue, jobs


def queue_by(batching: Batching) -> BatchQueue:
    return BatchQueue(operation_on("batch", lambda _: None), batching, lambda: 0.0)


def stand(queue: BatchQueue, rank: int, cost: float) -> Job:
    job = Job(queue.operation, cost, future=None)  # type: ignore[arg-type]  # nobody waits
    job.rank, job.cost = rank, cost
    queue.add(job)
    return job


def costs(batch: Sequence[Job]) -> list[float]:
    return [job.cost for job in batch]


def test_like_costs_go_together() -> None:
    """The oldest job goes with those nearest to it in cost, in order of rank."""
    queue, _ = waiting(10, 100, 11, 90, 12, max_size=3)
    assert costs(queue.choose()) == [10, 11, 12]


def test_company_comes_from_both_sides() -> None:
    """Cheaper and costlier jobs both join, in order of how near they are in cost."""
    queue, _ = waiting(50, 10, 48, 53, 90, 47, 60, max_size=4)
    assert costs(queue.choose()) == [50, 48, 53, 47]


def test_of_two_as_near_the_cheaper_goes() -> None:
    """If two jobs are equally near, the cheaper one goes, because it pads no other job."""
    queue, _ = waiting(20, 30, 10, max_size=2)
    assert costs(queue.choose()) == [20, 10]


def test_a_batch_costs_its_size_times_its_costliest() -> None:
    """``max_cost`` limits the batch including its padding; the limit itself is allowed."""
    queue, _ = waiting(10, 20, 30, 40, max_cost=40)
    assert costs(queue.choose()) == [10, 20]
    queue, _ = waiting(10, 20, 30, 40, max_cost=39)
    assert costs(queue.choose()) == [10]
    queue, _ = waiting(10, 20, 30, 40, max_cost=90)
    assert costs(queue.choose()) == [10, 20, 30]


def test_cheaper_company_fills_what_dearer_would_overflow() -> None:
    """If the nearest job is too expensive, cheaper ones may still join."""
    queue, _ = waiting(30, 31, 5, 6, max_cost=61)
    assert costs(queue.choose()) == [30, 6]


def test_one_that_costs_more_than_a_batch_may_goes_alone() -> None:
    """A job that costs more than ``max_cost`` is not refused: it runs by itself."""
    queue, _ = waiting(500, 400, 500, 600, max_cost=100)
    assert costs(queue.choose()) == [500]


def test_without_a_cost_the_oldest_go() -> None:
    """Without a cost, a batch consists of the first jobs in the queue."""
    queue = queue_by(Batching(Batch(max_size=3)))
    jobs = [stand(queue, rank, 1) for rank in range(1, 6)]
    assert queue.choose() == jobs[:3]


@pytest.mark.parametrize("seed", range(10))
def test_nobody_starves(seed: int) -> None:
    """Whatever keeps arriving, a job goes at the latest when all jobs before it have gone."""
    draw = random.Random(seed)  # noqa: S311 - chance that repeats itself
    queue, line = waiting(*(10 for _ in range(6)), 500, max_size=4, max_cost=1000)
    patient, rank = line[-1], len(line)
    for _ in range(7):
        batch = queue.choose()
        assert line[0] in batch
        for job in batch:
            line.remove(job)
            queue.remove(job)
        if patient in batch:
            return
        for _ in range(8):
            rank += 1
            line.append(stand(queue, rank, draw.choice([9, 10, 11])))
    raise AssertionError("it was overtaken for ever")


@pytest.mark.parametrize("seed", range(20))
def test_every_batch_keeps_the_rule(seed: int) -> None:
    """Each batch is within its size and cost, has the oldest job, and leaves no gap in cost."""
    draw = random.Random(seed)  # noqa: S311 - chance that repeats itself
    drawn = [draw.randint(1, 60) for _ in range(40)]
    queue, line = waiting(*drawn, max_size=5, max_cost=120)
    while line:
        batch = queue.choose()
        assert line[0] in batch
        assert batch == sorted(batch, key=lambda job: job.rank)
        assert len(batch) <= 5
        assert len(batch) == 1 or len(batch) * max(costs(batch)) <= 120
        lowest, highest = min(costs(batch)), max(costs(batch))
        assert not [job for job in line if lowest < job.cost < highest and job not in batch]
        for job in batch:
            line.remove(job)
            queue.remove(job)


def test_the_memory_bounds_the_size() -> None:
    """No batch is larger than what fitted into memory, and none is smaller than one job."""
    batching = Batching(Batch(max_size=32))
    queue = queue_by(batching)
    jobs = [stand(queue, rank, 1) for rank in range(1, 33)]
    batching.ceiling.overflowed(batching.weight(16, 1))
    assert queue.choose() == jobs[:16]
    batching.ceiling.overflowed(0.5)
    assert queue.choose() == jobs[:1]


def test_the_memory_bounds_the_cost() -> None:
    """For batches by cost, memory limits the cost, below what the rule allows."""
    batching = Batching(Batch(cost=float, max_cost=100))
    queue = queue_by(batching)
    for rank in range(1, 11):
        stand(queue, rank, 10)
    assert len(queue.choose()) == 10
    batching.ceiling.overflowed(batching.weight(5, 10))
    assert len(queue.choose()) == 5


@pytest.mark.parametrize(
    ("rule", "given", "ripe"),
    [
        ({"max_size": 4}, [2, 2, 2], False),  # there is room
        ({"max_size": 4}, [2, 2, 2, 2], True),
        ({"max_size": 4}, [2, 2, 2, 3], False),  # a better match for the oldest may come
        ({"max_size": 4}, [2, 2, 3, 3, 9, 9, 9], False),
        ({"max_size": 4}, [2, 2, 3, 3, 9, 9, 9, 9], True),  # enough for two batches
        ({"max_size": 9, "max_cost": 20}, [10], False),
        ({"max_size": 9, "max_cost": 20}, [10, 10], True),
        ({"max_size": 9, "max_cost": 20}, [9, 10], True),  # about the same cost
        ({"max_size": 9, "max_cost": 20}, [5, 10], False),
        ({"max_size": 9, "max_cost": 20}, [5, 10, 12, 13], True),  # enough for two
    ],
)
def test_a_batch_is_ripe_when_it_could_hardly_be_better(
    rule: dict[str, Any], given: list[float], ripe: bool
) -> None:
    """A ripe batch is full, and its jobs cost about the same or enough wait to fill it twice."""
    queue, _ = waiting(*given, **rule)
    assert queue.is_ripe() is ripe
