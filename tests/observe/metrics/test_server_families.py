"""The state of a server: readiness, queues, the GPU thread."""

import asyncio
from typing import Any

import httpx
from support.engine import Gate
from support.metrics import scrape

from potassium import Limits, Potassium
from potassium.testing import client

WAIT = "potassium_queue_estimated_wait_seconds"
BUSY = "potassium_gpu_thread_busy_seconds_total"


def held(gate: Gate, **options: Any) -> Potassium:
    app = Potassium("test", metrics=True, **options)
    app.handler(lambda cache, json_in: gate.run(json_in))
    return app


async def test_each_queue_has_its_length_and_its_limit() -> None:
    """That of the GPU thread, and that of each async handler."""
    gate, go = Gate(), asyncio.Event()
    app = held(gate, limits=Limits(queue_size=3))

    @app.handler("/lane")
    async def lane(cache: dict[str, Any], json_in: Any) -> None:
        await go.wait()

    async with client(app) as http, asyncio.TaskGroup() as group:
        for path in ("/", "/lane", "/lane", "/lane"):
            group.create_task(http.post(path, json={}))
        await gate.has_begun()
        group.create_task(http.post("/", json={}))
        await asyncio.sleep(0.01)
        seen = await scrape(http)
        assert seen.values("potassium_queue_length") == {("gpu",): 1, ("/lane",): 2}
        assert seen.values("potassium_queue_limit") == {("gpu",): 3, ("/lane",): 3}
        assert seen.value("potassium_calls_in_flight") == 5
        go.set()
        gate.open(2)


async def test_the_estimated_wait_is_what_retry_after_says() -> None:
    """Both are the time that the calls which wait are expected to take."""
    gate = Gate()
    app = held(gate, limits=Limits(queue_size=2))
    (operation,) = app._runtime.operations()
    operation.service_time.add(3.5)
    async with client(app) as http, asyncio.TaskGroup() as group:
        group.create_task(http.post("/", json={}))
        await gate.has_begun()
        assert (await scrape(http)).value(WAIT, handler="/") == 0
        for _ in range(2):
            group.create_task(http.post("/", json={}))
        await asyncio.sleep(0.01)
        assert (await scrape(http)).value(WAIT, handler="/") == 7
        assert (await http.post("/", json={})).headers["retry-after"] == "7"
        gate.open(3)


async def test_a_full_queue_makes_the_server_unready() -> None:
    """``potassium_ready`` is what ``/readyz`` says."""
    gate = Gate()
    async with client(held(gate, limits=Limits(queue_size=1))) as http:
        assert (await scrape(http)).value("potassium_ready") == 1
        async with asyncio.TaskGroup() as group:
            group.create_task(http.post("/", json={}))
            await gate.has_begun()
            group.create_task(http.post("/", json={}))
            await asyncio.sleep(0.01)
            assert (await http.get("/readyz")).status_code == 503
            assert (await scrape(http)).value("potassium_ready") == 0
            gate.open(2)


async def test_the_thread_is_busy_while_it_runs_a_call() -> None:
    """What it does now counts, so a call of an hour does not look like an idle thread."""
    gate = Gate()
    async with client(held(gate)) as http:
        before = (await scrape(http)).value(BUSY)
        calling = asyncio.create_task(http.post("/", json={}))
        await gate.has_begun()
        await asyncio.sleep(0.03)
        seen = await scrape(http)
        during = seen.value(BUSY)
        assert seen.value("potassium_activity", activity="busy") == 1
        assert seen.value("potassium_last_progress_seconds") >= 0.02
        gate.open()
        await calling
        after = (await scrape(http)).value(BUSY)
        await asyncio.sleep(0.03)
        seen = await scrape(http)
        assert seen.value(BUSY) == after
        assert seen.value("potassium_activity", activity="idle") == 1
        assert seen.value("potassium_last_progress_seconds") == 0
    assert before + 0.02 <= during <= after


async def test_the_phases_of_the_start_are_shown() -> None:
    """How long ``init`` took is one of them."""
    gate = Gate()
    async with client(held(gate)) as http:
        phases = (await scrape(http)).values("potassium_startup_seconds")
    assert ("init",) in phases
    assert all(seconds >= 0 for seconds in phases.values())


async def test_a_server_that_is_not_running_can_be_scraped() -> None:
    """A mounted app that nothing has started says so; the scrape does not start it."""
    app = held(Gate())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        seen = await scrape(http)
    assert seen.value("potassium_state", state="starting") == 1
    assert seen.value("potassium_ready") == 0
    assert seen.values("potassium_queue_length") == {}
    assert not app._runtime.is_entered
