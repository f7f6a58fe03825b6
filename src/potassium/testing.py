"""Calls an app in the test's own process, without a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from potassium.app import Potassium

__all__ = ["client"]


@asynccontextmanager
async def client(app: Potassium) -> AsyncIterator[httpx.AsyncClient]:
    """Start ``app`` and yield an httpx client that calls it; stop the app on exit.

    ::

        async with client(app) as http:
            response = await http.post("/", json={"prompt": "Hello"})

    Raises:
        BaseException: whatever ``init`` raised.

    """
    transport = httpx.ASGITransport(app)
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://potassium") as http,
    ):
        yield http
