"""Keep-alives from a stream that has nothing to send."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from support.asgi import EVENTS, LINES, Exchange

from potassium import Limits, Potassium
from potassium.errors import StreamBroken
from potassium.testing import client

KEEP_ALIVE = b": keep-alive\n\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a keep-alive every 10 ms."""
    monkeypatch.setattr("potassium.http.sse.KEEP_ALIVE_INTERVAL", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_silent_stream_of_events_shows_signs_of_life(app: Potassium) -> None:
    """Comments are sent between two events that are far apart."""
    go = threading.Event()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        yield "a"
        assert go.wait(10)
        yield "b"

    async with app.lifespan():
        exchange = Exchange(app, accept=EVENTS)
        await exchange.next()
        assert await exchange.body() == b"id: 1\ndata: a\n\n"
        assert [await exchange.body() for _ in range(2)] == [KEEP_ALIVE] * 2
        go.set()
        rest = await exchange.rest()
    assert rest.replace(KEEP_ALIVE, b"") == b"id: 2\ndata: b\n\nevent: end\ndata:\n\n"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("accept", [LINES, "*/*"])
async def test_other_forms_have_no_signs_of_life(app: Potassium, accept: str) -> None:
    """If the format has no comments, nothing but chunks is sent."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        for text in "ab":
            threading.Event().wait(0.03)
            yield text

    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": accept})
    assert response.text == ('"a"\n"b"\n' if accept == LINES else "ab")


@pytest.mark.usefixtures("impatient")
async def test_a_generator_that_is_slow_to_begin_shows_signs_of_life(app: Potassium) -> None:
    """The response begins, with comments, before there is a first chunk."""
    go = threading.Event()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        assert go.wait(10)
        yield "a"

    async with app.lifespan():
        exchange = Exchange(app, accept=EVENTS)
        assert (await exchange.next())["status"] == 200
        assert await exchange.body() == KEEP_ALIVE
        go.set()
        rest = await exchange.rest()
    assert rest.replace(KEEP_ALIVE, b"") == b"id: 1\ndata: a\n\nevent: end\ndata:\n\n"


@pytest.mark.usefixtures("impatient")
async def test_a_handler_that_may_not_stream_keeps_its_status(app: Potassium) -> None:
    """For a plain function, nothing is sent before it is known what it returns."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        threading.Event().wait(0.03)
        raise HTTPException(429)

    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": EVENTS})
    assert response.status_code == 429


@pytest.mark.usefixtures("impatient")
async def test_a_failure_after_signs_of_life_is_an_event(app: Potassium) -> None:
    """Once the response has begun, an error is sent in it, with its own status in the document."""
    go = threading.Event()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        assert go.wait(10)
        raise HTTPException(429, "slow down")
        yield

    async with app.lifespan():
        exchange = Exchange(app, accept=EVENTS)
        await exchange.next()
        await exchange.body()
        go.set()
        rest = await exchange.rest()
    event, _, data = rest.replace(KEEP_ALIVE, b"").partition(b"\ndata: ")
    assert event == b"event: error"
    assert (json.loads(data)["status"], json.loads(data)["detail"]) == (429, "slow down")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["stalls", "stalls until it begins", "is cancelled"])
async def test_a_client_lost_before_the_first_chunk_is_forgotten(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's call is no longer open, so that the server can stop at once."""
    app = Potassium("test", limits=Limits(stream_stall_timeout=0.05))
    go = threading.Event()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        assert go.wait(10)
        yield "a"

    async with app.lifespan():
        exchange = Exchange(app, accept=EVENTS)
        await exchange.next()
        if how.startswith("stalls"):
            exchange.reads.clear()
            await asyncio.sleep(0.02)
            if how != "stalls":
                go.set()
            with pytest.raises(StreamBroken), caplog.at_level(logging.CRITICAL):
                await exchange.rest()
        else:
            exchange.task.cancel()
            await asyncio.wait({exchange.task})
        try:
            assert app._runtime.is_idle
        finally:
            go.set()
