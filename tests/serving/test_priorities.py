"""Priorities, from the header to the order in which calls run."""

import asyncio
import threading
from typing import Any

import pytest

from potassium import Limits, Potassium
from potassium.testing import client


@pytest.mark.parametrize(
    ("priorities", "order"),
    [(True, ["high", "none", "normal", "low"]), (False, ["low", "none", "normal", "high"])],
)
async def test_urgent_calls_go_first_where_the_app_says_so(
    priorities: bool, order: list[str]
) -> None:
    """With Limits(priorities=True), X-Priority decides; without it, the order of arrival."""
    app = Potassium("test", limits=Limits(priorities=priorities))
    begun, go = threading.Event(), threading.Event()
    ran: list[str] = []

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        begun.set()
        assert go.wait(10)
        ran.append(json_in["name"])

    async with client(app) as http:
        # The first is running, and the second is already in the thread's inbox.
        calls = [asyncio.create_task(http.post("/", json={"name": name})) for name in "ab"]
        assert await asyncio.to_thread(begun.wait, 10)
        for name in ("low", "none", "normal", "high"):
            headers = {} if name == "none" else {"X-Priority": name}
            call = http.post("/", json={"name": name}, headers=headers)
            calls.append(asyncio.create_task(call))
            await asyncio.sleep(0.005)
        go.set()
        await asyncio.gather(*calls)
    assert ran == ["a", "b", *order]
