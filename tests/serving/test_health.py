"""The server's own pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.engine import Gate

from potassium import Limits, Potassium
from potassium.testing import client


class Bench:
    """An app with a handler on the GPU thread and two on the loop, which wait for their gates."""

    def __init__(self) -> None:
        self.app = Potassium("server", limits=Limits(queue_size=2))
        self.gate = Gate()
        self.go = {"/one": asyncio.Event(), "/two": asyncio.Event()}

        @self.app.handler
        def handler(cache: dict[str, Any], json_in: Any) -> Any:
            return self.gate.run(json_in)

        for path, go in self.go.items():
            self._add(path, go)

    def _add(self, path: str, go: asyncio.Event) -> None:
        @self.app.handler(path)
        async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
            await go.wait()

    @asynccontextmanager
    async def calls(self, *paths: str) -> AsyncIterator[Any]:
        """Make three calls of each path: one that runs, and as many as may wait."""
        async with client(self.app) as http, asyncio.TaskGroup() as group:
            for path in paths:
                for _ in range(3):
                    group.create_task(http.post(path, json={}))
                    await asyncio.sleep(0.01)
            yield http
            self.gate.open(3)
            for go in self.go.values():
                go.set()


async def test_a_full_queue_of_an_async_handler_leaves_the_server_ready() -> None:
    """Readiness is 200, and calls of all other handlers are served."""
    async with Bench().calls("/one", "/two") as http:
        assert (await http.post("/one", json={})).json()["code"] == "queue_full"
        assert (await http.get("/readyz")).json() == {"ready": True}


async def test_a_full_queue_of_the_gpu_thread_makes_the_server_unready() -> None:
    """Readiness is 503 with the reason, even if async handlers have nothing to do."""
    async with Bench().calls("/") as http:
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["reason"]) == (503, "queue_full")


async def test_status_shows_the_queue_of_each_async_handler() -> None:
    """``queue`` is that of the GPU thread; ``lanes`` has one for each async handler, by path."""
    async with Bench().calls("/one") as http:
        status = (await http.get("/_k/status")).json()
        assert status["queue"] == {"length": 0, "limit": 2}
        assert status["lanes"] == {
            "/one": {"length": 2, "limit": 2},
            "/two": {"length": 0, "limit": 2},
        }
