"""Fixtures for tests of the client."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from e2e.server import free_port as find_free_port

from potassium import Potassium
from potassium.client import AsyncClient

Connect = Callable[..., Awaitable[AsyncClient]]


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the waits of clients that block, in seconds; they take no time."""
    naps: list[float] = []
    monkeypatch.setattr("potassium.client.runs.time", SimpleNamespace(sleep=naps.append))
    return naps


@pytest.fixture
async def connect(app: Potassium) -> AsyncIterator[Connect]:
    """Return a function that starts the app and returns a client of it, without a socket."""
    async with AsyncExitStack() as stack:

        async def connect(**options: Any) -> AsyncClient:
            await stack.enter_async_context(app.lifespan())
            transport = httpx.ASGITransport(app)
            client = AsyncClient("http://app", transport=transport, **options)
            return await stack.enter_async_context(client)

        yield connect
