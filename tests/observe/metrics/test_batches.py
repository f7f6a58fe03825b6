"""Batches: their size, cost and padding."""

import asyncio
from typing import Any

import pytest
from support.metrics import scrape

from potassium import Batch, Potassium
from potassium.testing import client


async def test_the_size_of_each_batch_is_counted_once() -> None:
    """However many calls it has."""
    app = Potassium("test", metrics=True)

    @app.handler(batch=Batch(max_size=4))
    def handler(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
        return items

    async with client(app) as http:
        await asyncio.gather(*(http.post("/", json={}) for _ in range(4)))
        seen = await scrape(http)
    sizes = "potassium_batch_size"
    assert seen.value(f"{sizes}_sum", handler="/") == 4
    assert seen.value(f"{sizes}_count", handler="/") <= 2
    assert seen.values("potassium_batch_cost_count") == {}
    assert seen.values("potassium_batch_padding_ratio_count") == {}


async def test_padding_is_what_the_costliest_item_makes_of_the_others() -> None:
    """Three items of 1 and one of 5: 8 of 20 are used, 60 % are padding."""
    app = Potassium("test", metrics=True)

    @app.handler(batch=Batch(max_size=4, cost=lambda item: item["n"], max_cost=20))
    def handler(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
        return items

    async with client(app) as http:
        await asyncio.gather(*(http.post("/", json={"n": n}) for n in (1, 1, 1, 5)))
        seen = await scrape(http)
    assert seen.value("potassium_batch_size_count", handler="/") == 1
    assert seen.value("potassium_batch_cost_sum", handler="/") == 8
    assert seen.value("potassium_batch_padding_ratio_sum", handler="/") == pytest.approx(0.6)


async def test_a_batch_of_items_that_cost_nothing_has_no_padding() -> None:
    """There is nothing to divide by."""
    app = Potassium("test", metrics=True)

    @app.handler(batch=Batch(max_size=4, cost=lambda _: 0, max_cost=20))
    def handler(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
        return items

    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 200
        seen = await scrape(http)
    assert seen.value("potassium_batch_padding_ratio_sum", handler="/") == 0
