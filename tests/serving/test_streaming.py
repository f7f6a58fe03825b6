"""Handlers that stream, written in every way."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.asgi import EVENTS, LINES, Exchange

from potassium import Potassium, Request, Response, current_request
from potassium.testing import client


def chunks(*texts: Any) -> Iterator[Any]:
    yield from texts


async def async_chunks(*texts: Any) -> AsyncIterator[Any]:
    for text in texts:
        await asyncio.sleep(0)
        yield text


def generator(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    yield from ("a", "b")


def returned(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
    return chunks("a", "b")


def iterator(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
    return map(str.lower, ["A", "B"])


def in_a_response(cache: dict[str, Any], json_in: dict[str, Any]) -> Response:
    return Response(body=chunks("a", "b"))


async def async_generator(cache: dict[str, Any], json_in: dict[str, Any]) -> AsyncIterator[str]:
    async for text in async_chunks("a", "b"):
        yield text


async def returned_async(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
    return async_chunks("a", "b")


async def async_in_a_response(cache: dict[str, Any], json_in: dict[str, Any]) -> Response:
    return Response(body=async_chunks("a", "b"))


def sent(cache: dict[str, Any], request: Request) -> str:
    request.send("a")
    return "b"


WAYS = [
    generator,
    returned,
    iterator,
    in_a_response,
    async_generator,
    returned_async,
    async_in_a_response,
    sent,
]


@pytest.mark.parametrize("handler", WAYS)
@pytest.mark.parametrize(
    ("accept", "media_type", "body"),
    [
        (EVENTS, EVENTS, "id: 1\ndata: a\n\nid: 2\ndata: b\n\nevent: end\ndata:\n\n"),
        (LINES, LINES, '"a"\n"b"\n'),
        ("*/*", "text/plain; charset=utf-8", "ab"),
    ],
)
async def test_every_way_to_stream_takes_every_form(
    app: Potassium, handler: Any, accept: str, media_type: str, body: str
) -> None:
    """However the handler is written, its client gets the chunks in the format it asked for."""
    app.handler(handler)
    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": accept, "X-Request-Id": "r-1"})
    assert (response.status_code, response.text) == (200, body)
    assert response.headers["Content-Type"] == media_type
    assert response.headers["X-Request-Id"] == "r-1"
    assert "Content-Length" not in response.headers


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_status_and_headers_of_a_streams_response_are_sent(app: Potassium, kind: str) -> None:
    """Response(body=generator) sets the status and headers, and its content type is kept."""

    def plain(cache: dict[str, Any], json_in: dict[str, Any]) -> Response:
        body = chunks(b"a", b"b") if kind == "plain" else async_chunks(b"a", b"b")
        return Response(201, body=body, headers={"Content-Type": "audio/wav", "X-A": "b"})

    async def asynchronous(cache: dict[str, Any], json_in: dict[str, Any]) -> Response:
        return plain(cache, json_in)

    app.handler(plain if kind == "plain" else asynchronous)
    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": EVENTS})
    assert (response.status_code, response.content) == (201, b"ab")
    assert (response.headers["Content-Type"], response.headers["X-A"]) == ("audio/wav", "b")


async def test_a_chunk_goes_out_before_the_next_is_made(app: Potassium) -> None:
    """The client gets the first chunk while the generator works on the second."""
    go = threading.Event()

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        yield "a"
        assert go.wait(10)
        yield "b"

    async with app.lifespan():
        exchange = Exchange(app)
        await exchange.next()
        assert await exchange.body() == b"a"
        go.set()
        assert await exchange.rest() == b"b"


async def test_head_never_streams(app: Potassium) -> None:
    """Only POST runs a handler."""
    ran = []

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        ran.append(1)
        yield "a"

    async with client(app) as http:
        response = await http.head("/", headers={"Accept": EVENTS})
    assert (response.status_code, ran) == (405, [])


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_generator_of_the_other_kind_is_a_mistake_of_the_handlers(
    app: Potassium, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a call is answered with 500, and the log says which kind is required."""

    def plain(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return async_chunks("a") if kind == "plain" else chunks("a")

    async def asynchronous(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return plain(cache, json_in)

    app.handler(plain if kind == "plain" else asynchronous)
    async with client(app) as http:
        response = await http.post("/", json={})
    assert (response.status_code, response.json()["code"]) == (500, "handler_error")
    assert "handler streams from a" in caplog.text


async def test_the_current_request_is_there_in_every_step(app: Potassium) -> None:
    """current_request() returns the stream's own request, even if two streams take turns."""

    @app.handler(streams=2)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        for _ in range(50):
            yield current_request().id

    async with client(app) as http:
        posts = [http.post("/", json={}, headers={"X-Request-Id": name}) for name in "ab"]
        texts = [response.text for response in await asyncio.gather(*posts)]
    assert texts == ["a" * 50, "b" * 50]


async def test_a_stream_is_not_posted_to_a_webhook(
    app: Potassium, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says that the stream is not posted, and the client gets its stream."""
    posted: list[Any] = []

    @app.handler
    @app.result_webhook("http://example.invalid/")
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        yield "a"

    async with client(app) as http:
        running = app._runtime.services
        assert running is not None
        monkeypatch.setattr(
            running.webhooks.outbox, "post", lambda *delivery: posted.append(delivery)
        )
        response = await http.post("/", json={}, headers={"X-Request-Id": "r-7"})
    assert (response.text, posted) == ("a", [])
    (record,) = caplog.records
    assert ("webhook" in record.getMessage(), record.__dict__["request_id"]) == (True, "r-7")
