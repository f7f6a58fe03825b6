"""How a stream ends early: by a failure, at its deadline, or when its client leaves."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from support.asgi import EVENTS, LINES, Exchange

from potassium import Potassium, Request, current_request
from potassium.errors import StreamBroken
from potassium.testing import client


def fails_at_once(error: Exception) -> Callable[..., Any]:
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        raise error
        yield

    return handler


def fails_at_once_on_the_loop(error: Exception) -> Callable[..., Any]:
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> AsyncIterator[str]:
        raise error
        yield

    return handler


@pytest.mark.parametrize("way", [fails_at_once, fails_at_once_on_the_loop])
@pytest.mark.parametrize("accept", [EVENTS, LINES, "*/*"])
@pytest.mark.parametrize(
    ("error", "status"), [(HTTPException(429), 429), (ValueError(), 500)], ids=["http", "plain"]
)
async def test_a_failure_before_the_first_chunk_is_an_ordinary_problem(
    app: Potassium, way: Any, accept: str, error: Exception, status: int
) -> None:
    """As long as nothing has been sent, the error has its own status, whatever the format."""
    app.handler(way(error))
    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": accept})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


def fails_later(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    yield "a"
    raise ValueError("hunter2")


async def fails_later_on_the_loop(
    cache: dict[str, Any], json_in: dict[str, Any]
) -> AsyncIterator[str]:
    yield "a"
    raise ValueError("hunter2")


def fails_after_sending(cache: dict[str, Any], request: Request) -> None:
    request.send("a")
    raise ValueError("hunter2")


def cannot_be_encoded(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Any]:
    yield "a"
    yield object()


def ends_inside_a_character(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[bytes]:
    yield b"a"
    yield "é".encode()[:1]


FAULTY = [fails_later, fails_later_on_the_loop, fails_after_sending, cannot_be_encoded]


@pytest.mark.parametrize("handler", FAULTY)
async def test_a_failure_in_mid_stream_is_an_event(
    app: Potassium, handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The event holds the problem document and nothing of the handler's; the log has it all."""
    app.handler(handler)
    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": EVENTS})
    first, event, data = response.content.removesuffix(b"\n\n").rpartition(b"event: error\ndata: ")
    assert (first, event[:5]) == (b"id: 1\ndata: a\n\n", b"event")
    assert json.loads(data)["request_id"] == response.headers["X-Request-Id"]
    assert b"hunter2" not in data
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.exc_info


@pytest.mark.parametrize("handler", FAULTY)
@pytest.mark.parametrize("accept", [LINES, "*/*"])
async def test_a_failure_in_mid_stream_breaks_a_form_without_events(
    app: Potassium, handler: Any, accept: str
) -> None:
    """The server must break the connection, so that what came does not look complete."""
    app.handler(handler)
    async with app.lifespan():
        exchange = Exchange(app, accept=accept)
        with pytest.raises(StreamBroken):
            await exchange.rest()
        await exchange.next()
        assert await exchange.body() in (b"a", b'"a"\n')


class Held:
    """An app whose stream blocks after its first chunk until it is let go, and records its end."""

    def __init__(self, app: Potassium) -> None:
        self.app = app
        self.go = threading.Event()
        self.closed: list[str] = []
        self.went_on: list[int] = []
        app.handler("/stream")(self._stream)
        app.handler("/other")(lambda cache, json_in: "next")

    def _stream(self, cache: dict[str, Any], json_in: dict[str, Any]) -> "Held":
        self._chunks = iter("abc")
        return self

    def __iter__(self) -> "Held":
        return self

    def __next__(self) -> str:
        chunk = next(self._chunks)
        if chunk != "a":
            self.went_on.append(1)
            assert self.go.wait(10)
        return chunk

    def close(self) -> None:
        self.closed.append(threading.current_thread().name)

    async def is_free(self) -> None:
        """Wait until the thread has got to something else."""
        exchange = Exchange(self.app, path="/other")
        await exchange.next()
        assert await exchange.rest() == b'"next"'


@pytest.fixture
def held(app: Potassium) -> Iterator[Held]:
    held = Held(app)
    yield held
    held.go.set()


async def test_a_deadline_in_mid_stream_ends_it_on_time(held: Held) -> None:
    """The client is told while the handler is still in its step; then the generator is closed."""
    async with held.app.lifespan():
        exchange = Exchange(held.app, path="/stream", accept=EVENTS, prefer="wait=0.5")
        await exchange.next()
        assert await exchange.body() == b"id: 1\ndata: a\n\n"
        event, _, data = (await exchange.rest()).partition(b"\ndata: ")
        assert (event, json.loads(data)["code"]) == (b"event: error", "deadline_exceeded")
        assert held.closed == []
        held.go.set()
        await held.is_free()
    assert (held.closed, len(held.went_on)) == (["potassium-gpu"], 1)


async def test_a_deadline_in_mid_stream_breaks_a_form_without_events(held: Held) -> None:
    """The connection is broken, so that what came in time does not look complete."""
    async with held.app.lifespan():
        exchange = Exchange(held.app, path="/stream", prefer="wait=0.5")
        with pytest.raises(StreamBroken):
            await exchange.rest()
        held.go.set()


@pytest.mark.parametrize("accept", [EVENTS, "*/*"])
@pytest.mark.parametrize("how", ["leaves", "is cancelled"])
async def test_a_client_that_leaves_ends_its_stream(held: Held, accept: str, how: str) -> None:
    """close() runs once, on the GPU thread, nothing more is generated, and the thread goes on."""
    async with held.app.lifespan():
        exchange = Exchange(held.app, path="/stream", accept=accept)
        await exchange.next()
        await exchange.body()
        if how == "leaves":
            exchange.leave()
            assert await exchange.rest() == b""
        else:
            exchange.task.cancel()
            await asyncio.wait({exchange.task})
        held.go.set()
        await held.is_free()
        assert held.app._runtime.is_idle
    assert held.closed == ["potassium-gpu"]
    assert len(held.went_on) <= 1  # the step that the thread was in, if it had begun one


async def test_a_generator_sees_its_end_where_it_stands(app: Potassium) -> None:
    """If the client leaves, the generator's finally runs, in the context of its other steps."""
    seen: list[str] = []

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        try:
            while True:
                yield "a"
        finally:
            seen.append(f"{current_request().id} on {threading.current_thread().name}")

    async with app.lifespan():
        exchange = Exchange(app, x_request_id="r-1")
        await exchange.next()
        exchange.leave()
        await exchange.rest()
    assert seen == ["r-1 on potassium-gpu"]


async def test_an_error_while_a_generator_is_closed_concerns_nobody(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged, and the next call is served."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        try:
            while True:
                yield "a"
        finally:
            raise SystemExit("closing failed")

    app.handler("/other")(lambda cache, json_in: "next")
    async with app.lifespan():
        exchange = Exchange(app)
        await exchange.next()
        exchange.leave()
        await exchange.rest()
        after = Exchange(app, path="/other")
        assert (await after.next())["status"] == 200
        assert await after.rest() == b'"next"'
    assert "closing failed" in caplog.text


@pytest.mark.parametrize("how", ["leaves", "deadline"])
async def test_an_async_generator_is_cancelled_where_it_awaits(app: Potassium, how: str) -> None:
    """On the loop, a stream that nobody wants ends at once, and may await while it cleans up."""
    seen: list[str] = []

    @app.handler
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append(current_request().id)

    async with app.lifespan():
        prefer = "wait=0.5" if how == "deadline" else "wait=30"
        exchange = Exchange(app, accept=EVENTS, prefer=prefer, x_request_id="r-1")
        await exchange.next()
        await exchange.body()
        if how == "leaves":
            exchange.leave()
        assert (b"deadline_exceeded" in await exchange.rest()) == (how == "deadline")
        await asyncio.sleep(0.01)
        assert seen == ["r-1"]


async def test_a_stream_that_ends_inside_a_character_does_not_look_whole(app: Potassium) -> None:
    """Of events, the last one is the failure; lines break off; raw chunks are what they are."""
    app.handler(ends_inside_a_character)
    async with client(app) as http:
        events = await http.post("/", json={}, headers={"Accept": EVENTS})
        assert '"code":"unserializable_output"' in events.text.rpartition("event: error")[2]
        with pytest.raises(StreamBroken):
            await http.post("/", json={}, headers={"Accept": LINES})
        assert (await http.post("/", json={})).content == b"a\xc3"
