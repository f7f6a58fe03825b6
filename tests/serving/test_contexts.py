"""Context variables: what the middleware of a request sets is there wherever its call runs."""

from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from potassium import Jobs, Potassium
from potassium.testing import client

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


class Tenants:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            TENANT.set(dict(scope["headers"]).get(b"tenant", b"nobody").decode())
        await self.app(scope, receive, send)


def plain(cache: dict[str, Any], value: Any) -> str:
    return TENANT.get()


async def on_loop(cache: dict[str, Any], value: Any) -> str:
    return TENANT.get()


def streams(cache: dict[str, Any], value: Any) -> Iterator[str]:
    yield TENANT.get()
    yield TENANT.get()


async def streams_on_loop(cache: dict[str, Any], value: Any) -> AsyncIterator[str]:
    yield TENANT.get()


def sets(cache: dict[str, Any], value: Any) -> str:
    before = TENANT.get()
    TENANT.set("set by a handler")
    return before


def look(value: Any) -> str:
    return TENANT.get()


@pytest.mark.parametrize(
    ("function", "options", "seen"),
    [
        (plain, {}, '"{0}"'),
        (on_loop, {}, '"{0}"'),
        (streams, {}, "{0}{0}"),
        (streams_on_loop, {}, "{0}"),
        (sets, {}, '"{0}"'),
        (lambda cache, seen: seen, {"prepare": look}, '"{0}"'),
        (plain, {"finish": look}, '"{0}"'),
    ],
    ids=["plain", "async", "stream", "async stream", "sets", "prepare", "finish"],
)
async def test_a_handler_sees_the_variables_of_its_own_request(
    function: Any, options: dict[str, Any], seen: str
) -> None:
    """On whatever thread it runs; what it sets itself is gone with the call."""
    app = Potassium("test", middleware=[Middleware(Tenants)])
    app.handler("/", **options)(function)
    async with client(app) as http:
        for tenant in ("acme", "umbrella"):
            answer = await http.post("/", json={}, headers={"Tenant": tenant})
            assert answer.text == seen.format(tenant)


async def test_a_job_has_no_variables_of_a_request() -> None:
    """It may run after a restart."""
    app = Potassium("test", middleware=[Middleware(Tenants)], jobs=Jobs(path=None))
    app.background("/")(plain)
    async with client(app) as http:
        headers = {"Tenant": "acme", "Prefer": "wait=5"}
        assert (await http.post("/", json={}, headers=headers)).json() == "nobody"
