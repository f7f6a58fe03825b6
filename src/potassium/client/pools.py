"""Connections for many concurrent calls, in many small pools.

Each request that a pool of httpcore gets makes it compare each of its idle connections with all its
connections: a pool of a thousand spends a tenth of a second on that. A pool of sixteen does not.
"""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

__all__ = ["Pools"]

POOL_SIZE = 16  # connections


class Pools(httpx.AsyncBaseTransport):
    """Sends each request through the first pool that has a connection for it.

    Args:
        limits: on all connections together.
        new_pool: returns a pool with limits of its own.
        clock: returns monotonic seconds.

    """

    def __init__(
        self,
        limits: httpx.Limits,
        new_pool: Callable[[httpx.Limits], httpx.AsyncBaseTransport] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = max(1, (limits.max_connections or POOL_SIZE) // POOL_SIZE)
        self._idle_for = limits.keepalive_expiry or 0.0
        self._limits = httpx.Limits(
            max_connections=POOL_SIZE,
            max_keepalive_connections=POOL_SIZE,
            keepalive_expiry=limits.keepalive_expiry,
        )
        self._new_pool = new_pool or _pools_of_httpx()
        self._clock = clock
        self._pools: list[_Pool] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its connection is in use until the response is closed."""
        await self._close_unused()
        pool = self._choose()
        pool.begin()
        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            pool.end(self._clock())
            raise
        response.stream = _Counted(response.stream, lambda: pool.end(self._clock()))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, []
        for pool in pools:
            await pool.transport.aclose()

    def _choose(self) -> "_Pool":
        for pool in self._pools:
            if pool.open < POOL_SIZE:
                return pool
        if len(self._pools) < self._most:
            self._pools.append(_Pool(self._new_pool(self._limits)))
            return self._pools[-1]
        return min(self._pools, key=lambda pool: pool.open)  # its requests wait

    async def _close_unused(self) -> None:
        """Close the last pool once its connections have been idle for too long.

        A pool does so itself, but only when it gets a request.
        """
        last = self._pools[-1] if len(self._pools) > 1 else None
        if last is not None and not last.open and self._clock() - last.since > self._idle_for:
            self._pools.remove(last)
            await last.transport.aclose()


class _Pool:
    """A pool, and how many requests it has."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.open = 0
        self.since = 0.0  # monotonic seconds at which the last request ended

    def begin(self) -> None:
        self.open += 1

    def end(self, now: float) -> None:
        self.open -= 1
        self.since = now


class _Counted(httpx.AsyncByteStream):
    """The body of a response; calls ``closed`` when it is closed, which httpx does once."""

    def __init__(self, body: Any, closed: Callable[[], object]) -> None:
        self._body = body
        self._closed = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._closed()


def _pools_of_httpx() -> Callable[[httpx.Limits], httpx.AsyncBaseTransport]:
    certificates = httpx.create_ssl_context()  # reads a file, so once for all

    def new_pool(limits: httpx.Limits) -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(verify=certificates, limits=limits)

    return new_pool
