"""A client that floods the server leaves places to others, if the app says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from support.engine import Gate

from potassium import Limits, Potassium
from potassium.serving.clients import client_of


def asks(app: Potassium, host: str) -> httpx.AsyncClient:
    """Return a client at the address ``host``."""
    transport = httpx.ASGITransport(app=app, client=(host, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@asynccontextmanager
async def flooded(host: str, headers: dict[str, str], **options: Any) -> AsyncIterator[Potassium]:
    """Return a busy app of which one client wants more places than there are."""
    app = Potassium("server", **options)
    gate = Gate()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return gate.run(json_in)

    async with app.lifespan(), asks(app, host) as http, asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(http.post("/", json={}, headers=headers))
        await gate.has_begun()
        await asyncio.sleep(0.01)
        yield app
        gate.open(30)


async def answer(app: Potassium, host: str, headers: dict[str, str]) -> str:
    """Return how a call is answered: its code, or "waits" if it has a place."""
    services = app._runtime.services
    assert services is not None
    before = services.engine.calls.counts.admitted
    async with asks(app, host) as http, asyncio.timeout(10):
        call = asyncio.create_task(http.post("/", json={}, headers=headers))
        while not call.done():
            if services.engine.calls.counts.admitted > before:
                call.cancel()
                return "waits"
            await asyncio.sleep(0.001)
        return str(call.result().json()["code"])


FAIR = Limits(queue_size=8, fair=True)


@pytest.mark.parametrize(
    ("host", "expected"), [("10.0.0.1", "queue_full"), ("10.0.0.2", "waits"), ("::1", "waits")]
)
async def test_another_address_finds_a_place(host: str, expected: str) -> None:
    """Without API keys, clients are told apart by their addresses."""
    async with flooded("10.0.0.1", {}, limits=FAIR) as app:
        assert await answer(app, host, {}) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Api-Key": "first"}, "queue_full"),
        ({"Authorization": "Bearer first", "X-Api-Key": "wrong"}, "queue_full"),
        ({"X-Api-Key": "second"}, "waits"),
    ],
)
async def test_another_api_key_finds_a_place(headers: dict[str, str], expected: str) -> None:
    """With API keys, clients are told apart by them, wherever they come from."""
    keys = {"api_keys": ["first", "second"], "limits": FAIR}
    async with flooded("10.0.0.1", {"X-Api-Key": "first"}, **keys) as app:
        assert await answer(app, "10.0.0.2", headers) == expected


async def test_by_default_the_queue_is_one_for_all() -> None:
    """Without fair=True, one client may have all places."""
    async with flooded("10.0.0.1", {}, limits=Limits(queue_size=8)) as app:
        assert await answer(app, "10.0.0.2", {}) == "queue_full"


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("not:an:address", "another:one", False),
    ],
)
def test_addresses_of_one_network_are_one_client(first: str, second: str, is_same: bool) -> None:
    """An IPv6 client may use any address of its network, and is the same client from each."""
    of = [client_of({"type": "http", "client": (host, 1)}) for host in (first, second)]
    assert (of[0] == of[1]) is is_same


@pytest.mark.parametrize("scope", [{"type": "http"}, {"type": "http", "client": None}])
def test_who_has_no_address_is_one_client(scope: dict[str, Any]) -> None:
    """Over a Unix socket there are no addresses."""
    assert client_of(scope) == ""
