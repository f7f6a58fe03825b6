"""The server's own pages."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from support.engine import Gate

from potassium import Jobs, Limits, Potassium, Request
from potassium.observe import held
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


async def beat(http: httpx.AsyncClient) -> tuple[str, float]:
    """Return the activity and the seconds that liveness shows; the status page shows the same."""
    pages = [(await http.get(path)).json() for path in ("/healthz", "/_k/status")]
    assert pages[0]["activity"] == pages[1]["activity"]
    assert pages[1]["last_progress_seconds"] >= pages[0]["last_progress_seconds"]
    return pages[0]["activity"], pages[0]["last_progress_seconds"]


async def test_liveness_and_status_tell_idle_from_busy() -> None:
    """While nothing runs, no time passes without progress."""
    bench = Bench()
    async with client(bench.app) as http:
        assert await beat(http) == ("idle", 0)
        call = asyncio.create_task(http.post("/", json={}))
        await bench.gate.has_begun()
        await asyncio.sleep(0.02)
        activity, seconds = await beat(http)
        assert (activity, 0.02 <= seconds < 10) == ("busy", True)
        bench.gate.open()
        await call
        assert await beat(http) == ("idle", 0)


async def test_a_call_on_the_loop_leaves_the_threads_idle() -> None:
    """An async handler may wait for something else for hours; that is no sign of a hang."""
    bench = Bench()
    async with client(bench.app) as http:
        call = asyncio.create_task(http.post("/one", json={}))
        await asyncio.sleep(0.01)
        assert await beat(http) == ("idle", 0)
        bench.go["/one"].set()
        await call


@pytest.mark.parametrize("step", ["prepare", "finish", "run"])
async def test_status_names_the_handler_whose_step_takes_longest(step: str) -> None:
    """Also off the GPU thread: that is the one to look for when the server is stuck."""
    app, gate = Potassium("server"), Gate()
    steps: Any = {step: gate.run}
    run = steps.pop("run", lambda item: item)
    app.handler("/steps", **steps)(lambda cache, json_in: run(json_in))
    async with client(app) as http:
        assert (await http.get("/_k/status")).json()["oldest_step"] is None
        call = asyncio.create_task(http.post("/steps", json={}))
        await gate.has_begun()
        status = (await http.get("/_k/status")).json()
        assert (status["oldest_step"], status["activity"]) == ("/steps", "busy")
        gate.open()
        await call


async def test_loading_the_model_is_busy_not_idle() -> None:
    """Whoever waits for a model that does not come up sees for how long it has been loading."""
    app, gate = Potassium("server"), Gate()
    app.init(lambda: gate.run(None))
    app.handler(lambda cache, json_in: None)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        assert await beat(http) == ("idle", 0)  # nobody has asked for it yet
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run_until(app, http, gate))
            await gate.has_begun()
            await asyncio.sleep(0.02)
            activity, seconds = await beat(http)
            gate.open()
            await task
    assert (activity, 0.02 <= seconds < 10) == ("busy", True)


async def run_until(app: Potassium, http: httpx.AsyncClient, gate: Gate) -> None:
    async with app.lifespan():
        assert await beat(http) == ("idle", 0)


async def test_a_server_that_has_failed_is_stuck() -> None:
    """Liveness is 503, and the seconds go on from the last progress."""
    bench = Bench()
    async with client(bench.app) as http:
        services = bench.app._runtime.services
        assert services is not None
        services.engine.fail("for a test")
        await asyncio.sleep(0.02)
        assert (await http.get("/healthz")).status_code == 503
        activity, seconds = await beat(http)
    assert (activity, 0.02 <= seconds < 10) == ("stuck", True)


async def test_a_server_that_fails_has_been_stuck_since_its_last_progress() -> None:
    """Not since it was given up: the step before that is part of it."""
    bench = Bench()
    async with client(bench.app) as http:
        call = asyncio.create_task(http.post("/", json={}))
        await bench.gate.has_begun()
        await asyncio.sleep(0.05)
        services = bench.app._runtime.services
        assert services is not None
        services.engine.fail("for a test")
        assert bench.app._runtime.heartbeat().last_progress_seconds >= 0.05
        bench.gate.open()
        await call


@pytest.mark.parametrize("name", ["push", "progress"])
async def test_what_a_handler_reports_is_progress(name: str) -> None:
    """Each chunk of a handler that pushes, and each progress of a background job."""
    app, gate = Potassium("server", jobs=Jobs(path=None)), Gate()

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        gate.run(None)
        if name == "push":
            request.send("chunk")
        else:
            request.progress(0.5)
        gate.run(None)

    headers = {"Prefer": "respond-async"} if name == "progress" else {}
    async with client(app) as http:
        call = asyncio.create_task(http.post("/", json={}, headers=headers))
        await gate.has_begun()
        began = time.monotonic()
        await asyncio.sleep(0.05)
        assert (await beat(http))[1] >= 0.05
        gate.open()
        await gate.has_begun()
        activity, seconds = await beat(http)
        since_it_began = time.monotonic() - began
        gate.open()
        await call
    assert (activity, seconds < since_it_began - 0.045) == ("busy", True)


async def shown(http: httpx.AsyncClient) -> Any:
    return (await http.get("/_k/status")).json()


async def test_status_shows_how_long_a_call_is_expected_to_wait() -> None:
    """By handler, in milliseconds: what the calls before it are expected to take."""
    bench = Bench()
    async with client(bench.app) as http, asyncio.TaskGroup() as group:
        assert (await http.get("/_k/status")).json()["estimated_wait"] == {}
        first = group.create_task(http.post("/", json={}))
        await bench.gate.has_begun()
        await asyncio.sleep(0.02)  # a handler that takes long enough runs one call at a time
        bench.gate.open(1)
        await first
        for _ in range(3):
            group.create_task(http.post("/", json={}))
        await bench.gate.has_begun()
        while (status := await shown(http))["queue"]["length"] < 2:  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.005)
        waits, takes = status["estimated_wait"]["/"], status["service_time"]["/"]
        assert waits == pytest.approx(2 * takes, abs=0.002)
        assert status["open_calls"] == 3
        bench.gate.open(3)


async def test_status_counts_jobs_by_state_and_webhooks_by_outcome() -> None:
    """In an app without jobs, there are none to count."""
    app = Potassium("server", jobs=Jobs(path=None))
    app.background("/train")(lambda cache, json_in: 1 / json_in["n"])
    async with client(app) as http:
        for n in (0, 1, 2):
            job = (await http.post("/train", json={"n": n})).json()
            await http.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=10"})
        status = (await http.get("/_k/status")).json()
    others = ("queued", "running", "cancelled", "expired")
    assert status["jobs"] == {"succeeded": 2, "failed": 1, **dict.fromkeys(others, 0)}
    attempts = {"delivered": 0, "failed": 0, "given_up": 0}
    assert status["webhooks"] == {"waiting": 0, "attempts": attempts, "dropped": 0}
    async with client(Potassium("server")) as http:
        assert (await http.get("/_k/status")).json()["jobs"] is None


async def test_status_does_not_wait_for_a_store_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the store does not tell in time is null."""
    app = Potassium("server", jobs=Jobs(path=None))
    app.background("/train")(lambda cache, json_in: None)
    monkeypatch.setattr(held, "PATIENCE", 0.01)
    async with client(app) as http:
        services = app._runtime.services
        assert services is not None
        assert services.jobs is not None
        monkeypatch.setattr(services.jobs.store, "census", asyncio.Event().wait)
        status = (await http.get("/_k/status")).json()
    assert (status["jobs"], status["webhooks"]["waiting"]) == (None, 0)
