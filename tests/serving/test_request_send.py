"""request.send(): sending chunks from inside a handler that goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.asgi import EVENTS, LINES, Exchange

from potassium import (
    Batch,
    Limits,
    Potassium,
    Request,
    Response,
    UsageError,
    current_request,
)
from potassium.errors import ClientLeft, DeadlineExceeded, StreamBroken, UnserializableOutput
from potassium.testing import client


async def test_a_chunk_goes_out_while_the_handler_goes_on(app: Potassium) -> None:
    """The client gets the chunk before the handler returns."""
    go = threading.Event()

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> str:
        request.send("a")
        assert go.wait(10)
        return "b"

    async with app.lifespan():
        exchange = Exchange(app)
        await exchange.next()
        assert await exchange.body() == b"a"
        go.set()
        assert await exchange.rest() == b"b"


@pytest.mark.parametrize(
    ("result", "last"), [(None, ""), ("b", '"b"\n'), ({"b": 1}, '{"b":1}\n'), ("", '""\n')]
)
async def test_what_the_handler_returns_is_the_last_chunk(
    app: Potassium, result: Any, last: str
) -> None:
    """The result is sent as a chunk after the others, unless it is None."""

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> Any:
        request.send({"a": None})
        request.send(None)
        return result

    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": LINES})
    assert response.text == '{"a":null}\nnull\n' + last


async def test_a_handler_that_sends_may_go_on_as_a_generator(app: Potassium) -> None:
    """A generator that the handler returns is streamed after what was sent, and may send too."""

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> Iterator[str]:
        def rest() -> Iterator[str]:
            yield "b"
            request.send("c")
            yield "d"

        request.send("a")
        return rest()

    async with client(app) as http:
        assert (await http.post("/", json={})).text == "abcd"


async def test_chunks_may_be_sent_on_another_thread(app: Potassium) -> None:
    """A thread that the handler starts may send while the handler waits for it."""

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        request.send("a")
        thread = threading.Thread(target=request.send, args=("b",))
        thread.start()
        thread.join(10)

    async with client(app) as http:
        assert (await http.post("/", json={})).text == "ab"


async def test_a_chunk_that_cannot_be_sent_raises_in_the_handler(app: Potassium) -> None:
    """The handler may send something else, which is then the first chunk."""

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        with pytest.raises(UnserializableOutput):
            request.send(object())
        request.send("a")

    async with client(app) as http:
        assert (await http.post("/", json={})).text == "a"


@pytest.mark.parametrize(("how", "error"), [("left", ClientLeft), ("late", DeadlineExceeded)])
async def test_nothing_is_sent_to_a_client_that_does_not_wait(
    app: Potassium, how: str, error: type[Exception]
) -> None:
    """The next send() raises what ended the call, so that the handler ends too."""
    go = threading.Event()
    raised: list[type[BaseException]] = []

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        request.send("a")
        assert go.wait(10)
        try:
            request.send("b")
        except BaseException as caught:
            raised.append(type(caught))
            raise

    async with app.lifespan():
        prefer = "wait=0.5" if how == "late" else "wait=30"
        exchange = Exchange(app, accept=EVENTS, prefer=prefer)
        await exchange.next()
        await exchange.body()
        if how == "left":
            exchange.leave()
        assert b"data: b" not in await exchange.rest()
        go.set()
    assert raised == [error]


async def test_a_send_that_waits_for_its_client_ends_when_that_leaves(app: Potassium) -> None:
    """The handler does not go on waiting for room that nobody will make."""
    begun = threading.Event()
    went_on: list[int] = []

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        begun.set()
        for count in range(10):
            went_on.append(count)
            request.send(bytes(20_000_000))

    async with app.lifespan():
        exchange = Exchange(app)
        exchange.reads.clear()
        assert await asyncio.to_thread(begun.wait, 10)
        await asyncio.sleep(0.02)
        exchange.leave()
        exchange.reads.set()
        await exchange.next()
        await exchange.rest()
    assert went_on == [0]


@pytest.mark.parametrize("accept", [EVENTS, "*/*"])
@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_client_that_reads_too_slowly_loses_its_stream(accept: str, goes_on: bool) -> None:
    """The handler and the client see it, and nobody else has to wait: the thread is free."""
    app = Potassium("server", limits=Limits(send_timeout=0.05))
    raised: list[type[BaseException]] = []

    @app.handler("/push")
    def push(cache: dict[str, Any], request: Request) -> str:
        try:
            for _ in range(1000):
                request.send("x" * 1_000_000)
        except StreamBroken as error:
            raised.append(type(error))
            assert goes_on, "as a handler that knows nothing of this would end"
        return "the end"

    @app.handler
    def quick(cache: dict[str, Any], json_in: dict[str, Any]) -> str:
        return "served"

    async with client(app) as http:
        exchange = Exchange(app, path="/push", accept=accept)
        exchange.reads.clear()
        assert (await http.post("/", json={})).json() == "served"
        exchange.reads.set()
        with pytest.raises(StreamBroken):
            await exchange.rest()
    assert raised == [StreamBroken]


def test_a_request_that_nobody_serves_cannot_be_sent_to() -> None:
    """A Request made by hand has nowhere to send to."""
    with pytest.raises(UsageError, match="while it is running"):
        Request("id", [], b"").send("a")


def in_an_async_handler(app: Potassium) -> None:
    @app.handler
    async def handler(cache: dict[str, Any], request: Request) -> None:
        request.send("a")


def in_an_async_generator(app: Potassium) -> None:
    @app.handler
    async def handler(cache: dict[str, Any], request: Request) -> AsyncIterator[str]:
        request.send("a")
        yield "b"


def in_a_batched_handler(app: Potassium) -> None:
    @app.handler(batch=Batch())
    def handler(cache: dict[str, Any], requests: list[Request]) -> list[None]:
        requests[0].send("a")
        return [None for _ in requests]


def in_prepare(app: Potassium) -> None:
    @app.handler(prepare=lambda json_in: current_request().send("a"))
    def handler(cache: dict[str, Any], json_in: Any) -> None: ...


def in_finish(app: Potassium) -> None:
    @app.handler(finish=lambda result: current_request().send("a"))
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...


WRONG_PLACES = [
    in_an_async_handler,
    in_an_async_generator,
    in_a_batched_handler,
    in_prepare,
    in_finish,
]


@pytest.mark.parametrize("wrong_place", WRONG_PLACES)
async def test_a_send_from_a_wrong_place_fails_the_call(
    app: Potassium, wrong_place: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 500 and nothing that was sent; the log says where send() may be used."""
    wrong_place(app)
    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": EVENTS})
    assert (response.status_code, response.json()["code"]) == (500, "handler_error")
    assert "request.send() works only in a plain handler" in caplog.text


@pytest.mark.parametrize("has_sent", [False, True])
async def test_a_send_after_the_handler_has_returned_is_a_mistake(
    app: Potassium, has_sent: bool
) -> None:
    """A thread that outlives its handler gets an error, whether or not the handler itself sent."""
    requests: list[Request] = []

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        requests.append(request)
        if has_sent:
            request.send("a")

    async with client(app) as http:
        await http.post("/", json={})
        with pytest.raises(UsageError, match="while it is running"):
            requests[0].send("b")


async def test_a_handler_whose_result_is_finished_cannot_send(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """With finish=, the answer is what finish returns; what was sent would take its place."""
    finished: list[Any] = []

    @app.handler(finish=finished.append)
    def handler(cache: dict[str, Any], request: Request) -> str:
        request.send("a")
        return "b"

    async with client(app) as http:
        response = await http.post("/", json={})
    assert (response.status_code, finished) == (500, [])
    assert "finish=" in caplog.text


async def test_status_and_headers_come_too_late_after_a_send(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """A Response after a chunk fails the stream, because its head has already been sent."""

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> Response:
        request.send("a")
        return Response(201, body=iter("b"), headers={"Content-Type": "audio/wav"})

    async with client(app) as http:
        response = await http.post("/", json={}, headers={"Accept": EVENTS})
    assert response.text.startswith("id: 1\ndata: a\n\nevent: error\n")
    assert "too late" in caplog.text
