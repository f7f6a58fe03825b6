"""Waiting for a client that may leave."""

import asyncio

import pytest
from starlette.types import Message

from potassium.errors import ClientLeft
from potassium.http.connection import while_connected


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_result_comes_through() -> None:
    """Also an error, as it is."""

    async def fail() -> None:
        raise KeyError("a")

    assert await while_connected(never, asyncio.sleep(0, 5)) == 5
    with pytest.raises(KeyError):
        await while_connected(never, fail())


async def test_a_client_that_leaves_ends_the_wait() -> None:
    """What waits is cancelled."""
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    with pytest.raises(ClientLeft):
        await while_connected(receive, wait())
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_receive_that_reports_nothing_is_asked_once() -> None:
    """Under a server that does not notice, the result is what ends the wait."""
    asked: list[None] = []

    async def receive() -> Message:
        asked.append(None)
        return {"type": "http.request"}

    assert await while_connected(receive, asyncio.sleep(0.02, 5)) == 5
    assert len(asked) == 1


async def test_whoever_is_cancelled_waits_for_nothing() -> None:
    """No task is left behind."""
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(while_connected(never, asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait({waiting})
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before
