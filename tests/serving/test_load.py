"""The load of a server, for balancers that ask for it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.exceptions import HTTPException
from support.engine import Gate

from potassium import Limits, Potassium
from potassium.engine.heartbeat import Pulse
from potassium.engine.open_calls import Counts
from potassium.serving.load import LoadMeter
from potassium.testing import client

ASKING = {"endpoint-load-metrics-format": "JSON"}


class Bench:
    """A meter of an engine whose figures a test sets."""

    def __init__(self, *concurrency: int, servers: int = 1) -> None:
        self.now = 100.0
        self.worker = SimpleNamespace(busy=50.0, busy_since=None)
        self.counts = Counts()
        self.capacity = SimpleNamespace(waiting=0, limit=10)
        self.calls = _Calls(self.counts)
        lanes = [_Lane(places) for places in concurrency]
        self.lanes = {lane: lane for lane in lanes}  # the operation, and what runs it
        engine = SimpleNamespace(
            worker=self.worker,
            pulse=Pulse(cast("Any", self.worker), cast("Any", None), None, clock=lambda: self.now),
            calls=self.calls,
            capacity=self.capacity,
            servers=servers,
            lanes=self.lanes,
            uses_thread=not concurrency,
        )
        self.meter = LoadMeter(cast("Any", engine), clock=lambda: self.now)
        self.load = self.meter.load


class _Calls(list[Any]):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts


class _Lane:
    """An operation of the loop with places, and its queue."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.jobs = SimpleNamespace(capacity=SimpleNamespace(waiting=0, limit=10))


def test_the_first_look_has_no_rates() -> None:
    """Only what is under way is known; what happened before somebody asked was not counted."""
    bench = Bench()
    bench.counts.succeeded = 1000
    load = bench.load()
    assert (load.application_utilization, load.rps_fractional, load.eps) == (0, 0, 0)
    bench = Bench()
    bench.worker.busy_since = 0.5
    assert LoadMeter(bench.meter._engine, clock=lambda: 1.0).load().application_utilization == 1


def test_utilization_is_the_share_of_the_time_that_the_thread_was_busy() -> None:
    """The call that runs counts as far as it has come, although it has not ended."""
    bench = Bench()
    bench.now += 10
    bench.worker.busy += 2
    bench.worker.busy_since = bench.now - 3
    assert bench.load().application_utilization == 0.5
    bench.now += 10
    assert bench.load().application_utilization == 1.0


def test_the_thread_is_never_busy_for_more_than_the_time() -> None:
    """A look may have missed a step that was ending, and the next one makes up for it."""
    bench = Bench()
    bench.now += 10
    bench.worker.busy += 12
    assert bench.load().application_utilization == 1.0


def test_workers_that_are_all_busy_are_busy_once() -> None:
    """Otherwise a server with four of them would seem full as soon as one has work."""
    bench = Bench(servers=4)
    bench.now += 10
    bench.worker.busy += 20
    assert bench.load().application_utilization == 0.5


def test_a_full_queue_adds_to_the_utilization() -> None:
    """From 1 on, calls have to wait."""
    bench = Bench()
    bench.capacity.waiting = 4
    load = bench.load()
    assert load.application_utilization == 0.4
    assert (load.named_metrics["queue_length"], load.named_metrics["queue_limit"]) == (4, 10)
    bench.worker.busy += 2
    bench.now += 2
    assert bench.load().application_utilization == 1.4


def test_rates_are_of_a_second_at_least() -> None:
    """Two balancers that ask at the same time see the same, not the rate of a microsecond."""
    bench = Bench()
    bench.now += 2
    bench.counts.succeeded, bench.counts.failed = 14, 2
    bench.counts.refused, bench.counts.cancelled = 3, 1
    first = bench.load()
    assert (first.rps_fractional, first.eps) == (10, 2.5)
    bench.now += 0.5
    bench.counts.failed += 100
    assert (bench.load().rps_fractional, bench.load().eps) == (10, 2.5)
    bench.now += 0.5
    assert (bench.load().rps_fractional, bench.load().eps) == (100, 100)


def test_without_a_gpu_thread_the_places_of_async_handlers_count() -> None:
    """An app whose handlers are all async is busy when all their places are taken."""
    bench = Bench(3, 1)
    bench.calls.extend(range(2))
    load = bench.load()
    assert (load.application_utilization, load.named_metrics["queue_limit"]) == (0.5, 20)
    bench.calls.extend(range(8))
    for lane in bench.lanes.values():
        lane.jobs.capacity.waiting = 3
    assert bench.load().application_utilization == 1.3


def load_in(response: httpx.Response) -> dict[str, Any]:
    kind, _, report = response.headers["endpoint-load-metrics"].partition(" ")
    assert kind == "JSON"
    load: dict[str, Any] = json.loads(report)
    return load


async def test_a_balancer_that_asks_is_told(app: Potassium) -> None:
    """In the response to each call: success, error, stream, and refusal."""
    gate = Gate()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        if json_in.get("fails"):
            raise HTTPException(409)
        return gate.run(None)

    @app.handler("/stream")
    def stream(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        yield "a"

    async with client(app) as http:
        call = asyncio.create_task(http.post("/", json={}))
        await gate.has_begun()
        refused = await http.post("/", content=b"{", headers=ASKING)
        assert load_in(refused)["application_utilization"] == 1
        assert load_in(refused)["named_metrics"]["open_calls"] == 1
        gate.open()
        await call
        for path, body, status in (("/", {"fails": True}, 409), ("/stream", {}, 200)):
            response = await http.post(path, json=body, headers=ASKING)
            assert response.status_code == status
            assert set(load_in(response)) == {
                "application_utilization",
                "rps_fractional",
                "eps",
                "named_metrics",
            }


async def test_a_full_server_says_so_as_it_refuses() -> None:
    """That is when a balancer needs to know."""
    app, gate = Potassium("test", limits=Limits(queue_size=1)), Gate()
    app.handler(lambda cache, json_in: gate.run(None))
    async with client(app) as http:
        calls = []
        for _ in range(2):
            calls.append(asyncio.create_task(http.post("/", json={})))
            await asyncio.sleep(0.01)
        refused = await http.post("/", json={}, headers=ASKING)
        gate.open(2)
        await asyncio.gather(*calls)
    assert (refused.status_code, load_in(refused)["application_utilization"]) == (503, 2)


@pytest.mark.parametrize("option", [False, True])
async def test_both_figures_fit_one_response(option: bool) -> None:
    """Whoever asks for both gets both, each once, with the option and without."""
    app = Potassium("test", server_timing=option)
    app.handler(lambda cache, json_in: None)
    async with client(app) as http:
        response = await http.post("/", json={}, headers={**ASKING, "X-Timing": "1"})
    assert len(response.headers.get_list("endpoint-load-metrics")) == 1
    assert len(response.headers.get_list("server-timing")) == 1


@pytest.mark.parametrize("headers", [{}, {"endpoint-load-metrics-format": "BIN"}])
async def test_nobody_else_is_told(app: Potassium, headers: dict[str, str]) -> None:
    """Where nobody asks, nothing is measured."""
    app.handler(lambda cache, json_in: None)
    async with client(app) as http:
        response = await http.post("/", json={}, headers=headers)
        services = app._runtime.services
        assert services is not None
        assert ("load" in vars(services)) == bool(headers)
    assert "endpoint-load-metrics" not in response.headers
