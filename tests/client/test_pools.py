"""Connections for many concurrent calls."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from potassium.client import AsyncClient
from potassium.client.pools import POOL_SIZE, Pools


class Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x"


class Pool(httpx.AsyncBaseTransport):
    """A pool that answers when it is told to, or raises."""

    def __init__(self, limits: httpx.Limits) -> None:
        self.limits = limits
        self.gate = asyncio.Event()
        self.sent = 0
        self.fails = False
        self.is_closed = False
        self.closing = asyncio.Event()
        self.closing.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        await self.gate.wait()
        if self.fails:
            raise httpx.ConnectError("no")
        return httpx.Response(200, stream=Body())

    async def aclose(self) -> None:
        await self.closing.wait()
        self.is_closed = True


class Bench:
    def __init__(self, most: int = 4 * POOL_SIZE) -> None:
        self.made: list[Pool] = []
        self.now = 0.0
        limits = httpx.Limits(max_connections=most, keepalive_expiry=30)
        self.pools = Pools(limits, self.new_pool, lambda: self.now)
        self.tasks: list[asyncio.Task[httpx.Response]] = []

    def new_pool(self, limits: httpx.Limits) -> Pool:
        self.made.append(Pool(limits))
        return self.made[-1]

    async def send(self, times: int = 1) -> None:
        request = httpx.Request("GET", "http://server/")
        for _ in range(times):
            self.tasks.append(asyncio.ensure_future(self.pools.handle_async_request(request)))
        await asyncio.sleep(0)

    async def answer(self) -> None:
        for pool in self.made:
            pool.gate.set()
        tasks, self.tasks = self.tasks, []
        for response in await asyncio.gather(*tasks):
            await response.aread()
            await response.aclose()

    @property
    def sent(self) -> list[int]:
        return [pool.sent for pool in self.made]


async def test_calls_fill_one_pool_after_the_other() -> None:
    """No pool has more requests than connections, as long as there may be more pools."""
    bench = Bench()
    await bench.send(2 * POOL_SIZE + 1)
    assert bench.sent == [POOL_SIZE, POOL_SIZE, 1]
    assert {pool.limits.max_connections for pool in bench.made} == {POOL_SIZE}
    await bench.answer()


async def test_calls_one_after_the_other_use_one_pool() -> None:
    """So they use one connection: it is kept alive there."""
    bench = Bench()
    for _ in range(3):
        await bench.send()
        await bench.answer()
    assert bench.sent == [3]


async def test_a_connection_is_in_use_until_its_response_is_closed() -> None:
    """A stream holds its connection, and closing it twice frees it once."""
    bench = Bench()
    await bench.send(POOL_SIZE)
    bench.made[0].gate.set()
    responses = await asyncio.gather(*bench.tasks)
    bench.tasks.clear()
    await bench.send()
    assert bench.sent == [POOL_SIZE, 1]
    await responses[0].aclose()
    await responses[0].aclose()
    await bench.send(2)
    assert bench.sent == [POOL_SIZE + 1, 2]
    await bench.answer()


async def test_a_request_that_failed_uses_no_connection() -> None:
    """There is room for as many again."""
    bench = Bench()
    await bench.send(POOL_SIZE)
    bench.made[0].fails = True
    bench.made[0].gate.set()
    errors = await asyncio.gather(*bench.tasks, return_exceptions=True)
    assert {type(error) for error in errors} == {httpx.ConnectError}
    bench.tasks.clear()
    bench.made[0].fails = False
    await bench.send(POOL_SIZE)
    assert bench.sent == [2 * POOL_SIZE]
    await bench.answer()


async def test_more_calls_than_connections_wait() -> None:
    """They are spread over the pools, and none is refused."""
    bench = Bench(most=2 * POOL_SIZE)
    await bench.send(2 * POOL_SIZE + 4)
    assert bench.sent == [POOL_SIZE + 2, POOL_SIZE + 2]
    await bench.answer()


async def test_pools_of_a_crowd_that_has_gone_are_closed() -> None:
    """One with each request, once its connections have been idle for too long."""
    bench = Bench()
    await bench.send(3 * POOL_SIZE)
    await bench.answer()
    await bench.send()
    await bench.answer()
    assert not any(pool.is_closed for pool in bench.made)
    bench.now = 31
    for closed in [[False, False, True], [False, True, True], [False, True, True]]:
        await bench.send()
        await bench.answer()
        assert [pool.is_closed for pool in bench.made] == closed
    await bench.pools.aclose()
    assert all(pool.is_closed for pool in bench.made)


async def test_a_call_that_is_cancelled_while_pools_are_closed_uses_no_connection() -> None:
    """To close connections may take a while; no response is lost in it."""
    bench = Bench()
    await bench.send(POOL_SIZE + 1)
    await bench.answer()
    bench.now = 31
    bench.made[1].closing.clear()
    await bench.send()
    (task,) = bench.tasks
    bench.tasks.clear()
    task.cancel()
    await asyncio.wait({task})
    bench.made[1].closing.set()
    await bench.send(POOL_SIZE)
    assert bench.sent == [2 * POOL_SIZE, 1]
    await bench.answer()


async def test_a_proxy_for_all_gets_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies are those of httpx."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with AsyncClient("http://app", retries=0) as client:
        transport: Any = client._run.http._transport_for_url(httpx.URL("http://app/"))
        assert not isinstance(transport, Pools)
    monkeypatch.delenv("ALL_PROXY")
    async with AsyncClient("http://app", retries=0) as client:
        transport = client._run.http._transport_for_url(httpx.URL("http://app/"))
        assert isinstance(transport, Pools)
