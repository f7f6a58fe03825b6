"""Priorities, from the header to the order in which calls run."""

import asyncio
import threading
from typing import Any

import pytest
from support.calls import until

from potassium import Limits, Potassium
from potassium.engine.gpu_thread import GpuThread
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

    async with client(app) as http, asyncio.TaskGroup() as calls:
        services = app._runtime.services
        assert services is not None
        counts, thread = services.engine.calls.counts, services.engine.runner
        assert isinstance(thread, GpuThread)

        async def call(name: str) -> None:
            headers = {"X-Priority": name} if name in order and name != "none" else {}
            admitted = counts.admitted + 1
            calls.create_task(http.post("/", json={"name": name}, headers=headers))
            await until(lambda: counts.admitted == admitted)

        # The first is running, and the second is already in the thread's inbox.
        await call("a")
        assert await asyncio.to_thread(begun.wait, 10)
        await call("b")
        await until(lambda: len(thread.dispatcher.handed_over) == 2)
        for name in ("low", "none", "normal", "high"):
            await call(name)
        go.set()
    assert ran == ["a", "b", *order]
