"""Batches: their size, cost and padding."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.metrics import scrape
from support.operations import operation_on

from potassium import Batch, Potassium
from potassium.engine import Job
from potassium.observe.metrics.calls import CallMetrics
from potassium.observe.metrics.handler import BatchMetrics
from potassium.testing import client


async def batch_of(*costs: float, cost: Callable[[Any], float] | None = None) -> BatchMetrics:
    """Return the figures of a handler that has had one batch."""
    most = None if cost is None else 100
    rule = Batch(max_size=8, cost=cost, max_cost=most)
    calls, operation = CallMetrics(), operation_on("/", lambda _: (), batch=rule)
    calls.begin([operation])
    jobs = [Job(operation, None, asyncio.get_running_loop().create_future()) for _ in costs]
    for job, one in zip(jobs, costs, strict=True):
        job.cost = one
    calls.begin_batch(jobs)
    batches = calls.handlers["/"].batches
    assert batches is not None
    return batches


async def test_a_batch_is_counted_once_however_many_calls_it_has() -> None:
    """Without a cost, there is neither a sum of costs nor padding."""
    batches = await batch_of(1, 1, 1, 1)
    assert (sum(batches.size.counts), batches.size.sum) == (1, 4)
    assert (batches.cost, batches.padding) == (None, None)


async def test_padding_is_what_the_costliest_item_makes_of_the_others() -> None:
    """Three items of 1 and one of 5: 8 of 20 are used, 60 % are padding."""
    batches = await batch_of(1, 1, 1, 5, cost=lambda _: 1)
    assert batches.cost is not None
    assert batches.padding is not None
    assert batches.cost.sum == 8
    assert batches.padding.sum == pytest.approx(0.6)


async def test_a_batch_of_items_that_cost_nothing_has_no_padding() -> None:
    """There is nothing to divide by."""
    batches = await batch_of(0, 0, cost=lambda _: 0)
    assert batches.padding is not None
    assert (sum(batches.padding.counts), batches.padding.sum) == (1, 0)


async def test_batches_of_an_app_are_shown() -> None:
    """Every item is in one of them."""
    app = Potassium("test", metrics=True)

    @app.handler(batch=Batch(max_size=4, cost=lambda item: item["n"], max_cost=20))
    def handler(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
        return items

    async with client(app) as http:
        await asyncio.gather(*(http.post("/", json={"n": n}) for n in (1, 1, 1, 5)))
        seen = await scrape(http)
    assert seen.value("potassium_batch_size_sum", handler="/") == 4
    assert seen.value("potassium_batch_cost_sum", handler="/") == 8
    assert 0 <= seen.value("potassium_batch_padding_ratio_sum", handler="/") <= 0.6
