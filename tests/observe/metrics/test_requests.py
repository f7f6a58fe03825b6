"""Requests, by what they were answered with, and those that were refused."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.engine import Gate
from support.metrics import Scrape, scrape

from potassium import Jobs, Limits, Potassium, PotassiumError, Request
from potassium.errors import HeadTooLarge
from potassium.testing import client

REQUESTS = "potassium_requests_total"
REFUSALS = "potassium_refusals_total"


class TooHot(PotassiumError):
    status = 418

    def __init__(self, code: str) -> None:
        super().__init__("It is too hot.")
        self.code = code  # type: ignore[misc]  # what an app should not do


def new_app(**options: Any) -> Potassium:
    app = Potassium("test", metrics=True, **options)

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        if "status" in json_in:
            raise HTTPException(json_in["status"])
        if "code" in json_in:
            raise TooHot(json_in["code"])
        return json_in

    return app


async def after(app: Potassium, *calls: tuple[str, dict[str, Any]]) -> Scrape:
    """Return what the app shows after these calls."""
    async with client(app) as http:
        for path, options in calls:
            await http.request(options.pop("method", "POST"), path, **options)
        return await scrape(http)


async def test_requests_are_counted_by_handler_status_and_code() -> None:
    """A success has no code; an error has the one of its problem document."""
    seen = await after(
        new_app(),
        ("/", {"json": {}}),
        ("/", {"json": {}}),
        ("/", {"json": {"status": 404}}),
        ("/", {"content": b"{"}),
        ("/", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    )
    assert seen.values(REQUESTS, handler="/") == {
        ("", "200"): 2,
        ("not_found", "404"): 1,
        ("unsupported_media_type", "415"): 1,
        ("malformed_json", "400"): 1,
    }
    assert seen.value("potassium_request_duration_seconds_count", handler="/") == 5


async def test_unknown_paths_are_one_label() -> None:
    """However many paths clients try, one series counts them, with those of the server's own."""
    calls: list[tuple[str, dict[str, Any]]] = [(f"/wp-admin/{n}", {}) for n in range(50)]
    seen = await after(new_app(), *calls, ("/healthz", {"method": "GET"}))
    assert seen.values(REQUESTS, code="not_found") == {("other", "404"): 50}
    assert seen.value(REQUESTS, handler="other", status="200") == 1
    assert set(seen.values("potassium_request_duration_seconds_count")) == {("/",), ("other",)}


async def test_the_labels_of_an_app_that_invents_errors_are_bounded() -> None:
    """Of a thousand statuses and codes, those that mean something are kept, and the rest is one."""
    statuses: list[tuple[str, dict[str, Any]]] = [
        ("/", {"json": {"status": status}})
        for status in range(200, 600)
        if status not in (204, 304)
    ]
    codes: list[tuple[str, dict[str, Any]]] = [
        ("/", {"json": {"code": f"c{n}"}}) for n in range(500)
    ]
    seen = await after(new_app(), *codes, *statuses, ("/", {"content": b"{"}))
    shown = seen.values(REQUESTS, handler="/")
    assert len(shown) < 250
    assert sum(shown.values()) == len(statuses) + len(codes) + 1
    assert shown["unsupported_media_type", "415"] == 1 + 1  # ours is never crowded out
    assert {status for _, status in shown} >= {"2xx", "3xx", "4xx", "5xx", "418", "503"}
    assert shown["c0", "418"] == 1
    assert shown["other", "418"] == 400


async def test_refusals_are_counted_by_reason_also_before_a_handler() -> None:
    """What an invalid key, body or value was answered with; an error of the handler is none."""
    app = new_app(api_keys=["k"], limits=Limits(body_size=10))

    @app.handler("/typed")
    def typed(cache: dict[str, Any], item: list[int]) -> Any:
        return item

    key = {"X-Api-Key": "k"}
    seen = await after(
        app,
        ("/", {"json": {}}),
        ("/nothing", {}),
        ("/", {"json": {"x": "0123456789"}, "headers": key}),
        ("/typed", {"json": ["x"], "headers": key}),
        ("/", {"content": b"{", "headers": {**key, "Content-Type": "application/json"}}),
        ("/", {"json": {}, "method": "GET", "headers": key}),
    )
    assert seen.values(REFUSALS) == {
        ("/", "unauthorized"): 1,
        ("other", "unauthorized"): 1,
        ("/", "body_too_large"): 1,
        ("/typed", "invalid_input"): 1,
        ("/", "malformed_json"): 1,
        ("/", "method_not_allowed"): 1,
    }


async def test_what_a_connection_refuses_by_itself_is_counted() -> None:
    """The app never sees it, so it has no handler."""
    app = new_app()
    app._parts.observation.refused(HeadTooLarge("The head is too large."), {"headers": ()})
    seen = await after(app)
    assert seen.values(REFUSALS) == {("other", "head_too_large"): 1}


async def test_what_a_handler_raises_is_no_refusal() -> None:
    """It ran: its error is among the requests only."""
    seen = await after(new_app(), ("/", {"json": {"status": 503}}), ("/", {"json": {"code": "x"}}))
    assert seen.values(REFUSALS) == {}


async def test_what_a_background_job_raises_is_no_refusal() -> None:
    """Its client waited for it, and it ran."""
    app = new_app(jobs=Jobs(path=None))
    prefers = {"headers": {"Prefer": "respond-async, wait=5"}}
    seen = await after(
        app, ("/", {"json": {"status": 404}, **prefers}), ("/", {"json": {"code": "x"}, **prefers})
    )
    assert seen.value(REQUESTS, handler="/", status="404", code="not_found") == 1
    assert seen.values(REFUSALS) == {}


async def test_a_client_that_leaves_while_it_sends_its_body_was_not_refused() -> None:
    """It got no answer, so nothing was the matter with the server."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        arrived.set()
        await asyncio.sleep(10)

    arrived = asyncio.Event()
    async with client(new_app()) as http:
        calling = asyncio.create_task(http.post("/", content=endless()))
        await arrived.wait()
        calling.cancel()
        await asyncio.wait([calling])
        seen = await scrape(http)
    assert seen.value(REQUESTS, handler="/", status="499", code="client_left") == 1
    assert seen.values(REFUSALS) == {}


@asynccontextmanager
async def held(**options: Any) -> AsyncIterator[tuple[Potassium, Gate, httpx.AsyncClient]]:
    """Run an app whose handler waits for a gate."""
    app, gate = Potassium("test", metrics=True, **options), Gate()
    app.handler(lambda cache, json_in: gate.run(json_in))
    async with client(app) as http:
        try:
            yield app, gate, http
        finally:
            gate.open(10)


async def test_a_full_queue_and_a_drain_are_reasons() -> None:
    """Both are counted for the handler, and its calls as refused."""
    async with held(limits=Limits(queue_size=1)) as (app, gate, http), asyncio.TaskGroup() as group:
        group.create_task(http.post("/", json={}))
        await gate.has_begun()
        group.create_task(http.post("/", json={}))
        await asyncio.sleep(0.01)
        assert (await http.post("/", json={})).json()["code"] == "queue_full"
        app._runtime.drain()
        assert (await http.post("/", json={})).json()["code"] == "draining"
        seen = await scrape(http)
        assert seen.values(REFUSALS) == {("/", "queue_full"): 1, ("/", "draining"): 1}
        assert seen.value("potassium_calls_total", handler="/", outcome="refused") == 2
        assert seen.value("potassium_requests_in_flight") == 3  # two calls, and the scrape
        gate.open(2)


async def test_a_server_that_starts_is_a_reason() -> None:
    """A request that does not wait for init is refused with ``starting``."""
    app, go = new_app(), threading.Event()
    app.init(lambda: go.wait(10) and None)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        refused = await http.post("/", json={}, headers={"Prefer": "wait=0.01"})
        assert refused.json()["code"] == "starting"
        seen = await scrape(http)
        assert seen.value(REFUSALS, handler="/", reason="starting") == 1
        assert seen.value("potassium_ready") == 0
        assert seen.value("potassium_state", state="starting") == 1
        go.set()
        assert (await http.post("/", json={})).status_code == 200
    assert app._runtime._lazy is not None
    app._runtime._lazy.cancel()
    await asyncio.wait([app._runtime._lazy])


async def test_a_client_that_leaves_is_counted_as_gone() -> None:
    """The request ended without a response, and its call was called off for that reason."""
    async with held() as (_, gate, http):
        calling = asyncio.create_task(http.post("/", json={}))
        await gate.has_begun()
        calling.cancel()
        await asyncio.wait([calling])
        seen = await scrape(http)
        assert seen.value("potassium_calls_total", outcome="client_left") == 1
        assert seen.value(REQUESTS, handler="/", status="499", code="client_left") == 1


async def test_routes_of_the_app_are_counted_too() -> None:
    """They have no handler, so they are under ``other``."""

    async def page(_: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    seen = await after(new_app(routes=[Route("/page", page)]), ("/page", {"method": "GET"}))
    assert seen.value(REQUESTS, handler="other", status="200") == 1


@pytest.mark.parametrize("mode", ["chunks", "error"])
async def test_a_stream_that_breaks_off_has_its_code(mode: str) -> None:
    """Its status was sent long before."""
    app = Potassium("test", metrics=True)

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> Any:
        yield "a"
        if mode == "error":
            raise ValueError

    async with client(app) as http:
        await http.post("/", json={}, headers={"Accept": "text/event-stream"})
        seen = await scrape(http)
    code = "handler_error" if mode == "error" else ""
    assert seen.value(REQUESTS, handler="/", status="200", code=code) == 1
