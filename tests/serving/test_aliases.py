"""Health at the paths where other servers have it: ``/health`` and ``/ping``."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route
from support.engine import Gate

from potassium import Limits, Potassium
from potassium import Request as Received
from potassium.testing import client

KEY = {"X-Api-Key": "key"}
PATHS = ("/health", "/ping")


def new_app(**options: Any) -> Potassium:
    app = Potassium("test", **options)
    app.handler(lambda cache, json_in: None)
    return app


def without_lifespan(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def own(_: Request) -> PlainTextResponse:
    return PlainTextResponse("own")


async def test_health_is_liveness() -> None:
    """The same page, loading and failed included: a supervisor may ask either."""
    app = new_app()
    async with without_lifespan(app) as http:
        assert (await http.get("/health")).json() == (await http.get("/healthz")).json()
    async with client(app) as http:
        assert (await http.get("/health")).json()["state"] == "ready"
        services = app._runtime.services
        assert services is not None
        services.engine.fail("for a test")
        answers = [await http.get(path) for path in ("/health", "/ping")]
        assert [(one.status_code, one.json()["state"]) for one in answers] == [(503, "failed")] * 2


async def test_a_ping_is_green_once_the_model_is_loaded() -> None:
    """Until then it is 503, as SageMaker expects; it begins to load a model that nobody has."""
    app, gate = new_app(), Gate()
    app.init(lambda: gate.run(None))
    async with without_lifespan(app) as http:
        first = await http.get("/ping")
        assert (first.status_code, first.json()["state"]) == (503, "starting")
        await gate.has_begun()
        gate.open()
        await http.get("/_k/warmup")
        assert (await http.get("/ping")).status_code == 200
        app._runtime.drain()
        last = await http.get("/ping")
        assert (last.status_code, last.json()["state"]) == (503, "draining")


async def test_a_full_queue_leaves_a_ping_green() -> None:
    """Platforms that ping replace a server that does not answer 200: no reason to do that."""
    app, gate = Potassium("test", limits=Limits(queue_size=1)), Gate()
    app.handler(lambda cache, json_in: gate.run(None))
    async with client(app) as http:
        calls = []
        for _ in range(2):
            calls.append(asyncio.create_task(http.post("/", json={})))
            await asyncio.sleep(0.01)
        pages = [(await http.get(path)).status_code for path in ("/readyz", "/ping", "/health")]
        gate.open(2)
        await asyncio.gather(*calls)
    assert pages == [503, 200, 200]


@pytest.mark.parametrize("path", ["/ping", "/health"])
@pytest.mark.parametrize("has_middleware", [False, True])
async def test_probes_need_no_key(path: str, has_middleware: bool) -> None:
    """Whatever asks has none, with GET or HEAD."""
    app = new_app(api_keys=["key"])
    if has_middleware:
        app.add_middleware(lambda app: app)
    async with client(app) as http:
        for method in ("GET", "HEAD"):
            assert (await http.request(method, path)).status_code == 200
        assert (await http.post(path)).status_code == 401


@pytest.mark.parametrize("path", ["/ping", "/health"])
@pytest.mark.parametrize("kind", ["given", "added", "mounted", "handler"])
async def test_a_route_of_the_apps_own_wins(path: str, kind: str) -> None:
    """It needs a key, as all others do."""
    route = Route(path, own)
    app = new_app(api_keys=["key"], routes=[route] if kind == "given" else [])
    if kind == "added":
        app.router.routes.append(route)
    elif kind == "mounted":
        app.router.routes.append(Mount("/", routes=[route]))
    elif kind == "handler":

        @app.handler(path, methods=["GET"])
        def handler(cache: dict[str, Any], request: Received) -> str:
            return "own"

    async with client(app) as http:
        assert (await http.get(path)).status_code == 401
        answer = await http.get(path, headers=KEY)
        assert (answer.status_code, answer.text.strip('"')) == (200, "own")


@pytest.mark.parametrize("path", ["/ping", "/health"])
async def test_a_handler_for_posts_leaves_the_probe(path: str) -> None:
    """The path has both; only the handler needs a key."""
    app = Potassium("test", api_keys=["key"])
    app.handler(path)(lambda cache, json_in: "own")
    async with client(app) as http:
        assert (await http.get(path)).json()["state"] == "ready"
        assert (await http.post(path, json={})).status_code == 401
        assert (await http.post(path, json={}, headers=KEY)).json() == "own"


async def test_they_are_below_a_mount() -> None:
    """As all pages of the app are; the parent keeps its own."""
    app = new_app()
    parent = Starlette(routes=[Route("/ping", own), Mount("/model", app)])
    async with app.lifespan(), without_lifespan(parent) as http:
        assert (await http.get("/model/ping")).json()["state"] == "ready"
        assert (await http.get("/ping")).text == "own"


async def test_a_route_for_one_host_needs_a_key_there() -> None:
    """It comes before ours, which answer elsewhere without one."""
    routes = [Host("mine.example", Starlette(routes=[Route(path, own) for path in PATHS]))]
    async with client(new_app(routes=routes, api_keys=["key"])) as http:
        for path in PATHS:
            assert (await http.get(path, headers={"Host": "mine.example"})).status_code == 401
            there = await http.get(path, headers={**KEY, "Host": "mine.example"})
            assert there.text == "own"
            assert (await http.get(path)).status_code == 200
