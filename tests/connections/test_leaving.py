"""Clients that leave, and clients that only send no more."""

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request as StarletteRequest
from support.connection import Bench, echo, respond

MakeBench = Callable[..., Bench]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"


class Waiting:
    """An app that answers when a test lets it, and notes what it receives after the body."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.received: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        watch = asyncio.ensure_future(receive())
        await asyncio.wait(
            [watch, asyncio.ensure_future(self.go.wait())], return_when="FIRST_COMPLETED"
        )
        if watch.done():
            self.received.append(watch.result()["type"])
            await respond(send, b"nobody reads this")
            return
        watch.cancel()
        await respond(send, scope["path"].encode())


def test_the_app_is_told_that_its_client_has_left(bench: MakeBench) -> None:
    """What it sends then goes nowhere, without an error."""
    app = Waiting()
    client = bench(app).connect().send(GET)
    client.leave()
    assert app.received == ["http.disconnect"]
    assert client.wire.sent == b""


def test_a_client_that_leaves_does_not_fill_the_log(
    bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    """With a traceback for each body that it sends half of."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StarletteRequest(scope, receive).body()

    bench(app).connect().send(POST + b"ab").leave()
    assert not caplog.records


def test_calls_that_have_not_begun_are_dropped(bench: MakeBench) -> None:
    app = Waiting()
    client = bench(app).connect().send(GET * 3)
    client.leave()
    assert app.received == ["http.disconnect"]


def test_half_a_body_ends_with_its_client(bench: MakeBench) -> None:
    got: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            pass
        got.append(message["type"])

    for leave in ("leave", "half_close"):
        client = bench(app).connect().send(POST + b"ab")
        getattr(client, leave)()
    assert got == ["http.disconnect"] * 2


def test_an_app_that_waits_for_its_reader_is_released(bench: MakeBench) -> None:
    ended: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})
        ended.append(True)

    client = bench(app).connect(1000).send(GET)
    assert len(client.wire.unread) < 200_000
    client.leave()
    assert ended == [True]


@pytest.mark.parametrize(
    "segments",
    [
        [POST + b"abcd" + GET[:-5]],
        [b"GET /" + b"a" * 200_000],
        [GET[:-2] + b"X-A: a\r\n" * 20_000],
        [b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
        [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"x\r\n"],
    ],
    ids=["in the next head", "endless target", "too many fields", "malformed", "malformed chunk"],
)
def test_a_client_that_has_left_leaves_nothing(bench: MakeBench, segments: list[bytes]) -> None:
    """No garbage collection is needed for what its connection had."""
    one = bench(echo)
    gc.collect()
    gc.disable()
    try:
        client = one.connect().send(*segments)
        kept = weakref.ref(client.wire.protocol)
        client.leave()
        client.wire.protocol = None  # type: ignore[assignment]
        assert kept() is None
    finally:
        gc.enable()


def test_a_half_closed_client_gets_its_response(bench: MakeBench) -> None:
    """Before it, interim responses, which clients ignore."""
    app = Waiting()
    one = bench(app)
    client = one.connect().send(GET)
    client.half_close()
    one.wait(3)
    one.call(app.go.set)
    *interim, response = client.responses()
    assert {it.status for it in interim} == {100}
    assert (response.status, response.body) == (200, b"/")
    assert client.is_closed
    assert app.received == []


@pytest.mark.parametrize("cut", [1, 20, 1000, 10_000])
def test_a_half_closed_client_gets_all_its_responses(bench: MakeBench, cut: int) -> None:
    one = bench(echo)
    data = b"".join(
        b"POST /%d HTTP/1.1\r\nContent-Length: 100\r\n\r\n%b" % (number, b"abcd" * 25)
        for number in range(400)
    )
    client = one.connect()
    client.wire.incoming = [data[start : start + cut] for start in range(0, len(data), cut)]
    client.wire.incoming.append(b"")
    one.call(client.wire.deliver)
    client.half_close()
    answers = [json.loads(it.body) for it in client.responses() if it.status != 100]
    assert answers == [["POST", f"/{number}", "abcd" * 25] for number in range(400)]
    assert client.is_closed


def test_a_half_closed_client_gets_what_it_sent_ahead(bench: MakeBench) -> None:
    """And no longer holds a connection for what it sent of another request."""
    for rest, statuses in (
        (b"", [200, 200]),
        (b"GET", [200, 200]),
        (POST + b"ab", [200, 200]),
        (b"nonsense\r\n\r\n", [200, 200, 400]),
    ):
        app = Waiting()
        one = bench(app)
        client = one.connect().send(GET + GET + b"\r\n" * 600 + rest)
        client.half_close()
        one.call(app.go.set)
        assert [status for status in client.statuses() if status != 100] == statuses
        assert client.is_closed


def test_a_client_that_closes_without_a_request_is_closed(bench: MakeBench) -> None:
    for sent in (b"", b"GET", GET, POST + b"ab"):
        client = bench(echo).connect().send(sent)
        client.half_close()
        assert client.is_closed


def test_a_client_that_has_left_shows_within_a_second(bench: MakeBench) -> None:
    """Its host resets the connection when an interim response comes, and then comes another."""
    app = Waiting()
    one = bench(app)
    client = one.connect().send(GET)
    client.half_close()
    sent = len(client.responses())
    for _ in range(4):
        one.wait(1)
        assert len(client.responses()) > sent
        sent = len(client.responses())
    client.leave()
    assert app.received == ["http.disconnect"]
    one.wait(5)
    assert len(client.responses()) == sent


def test_the_second_call_of_a_client_that_has_left_is_called_off_too(bench: MakeBench) -> None:
    app = Waiting()
    one = bench(app)
    client = one.connect().send(GET + GET)
    client.half_close()
    one.call(app.go.set)
    app.go.clear()
    assert client.is_closed


def test_no_interim_response_is_sent_in_the_middle_of_a_response(bench: MakeBench) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await send({"type": "http.response.start", "status": 200})
        await asyncio.sleep(10)
        await send({"type": "http.response.body", "body": b"x"})

    go = asyncio.Event()
    one = bench(app)
    client = one.connect().send(GET)
    client.half_close()
    one.call(go.set)
    one.wait(11)
    *interim, response = client.responses()
    assert {it.status for it in interim} == {100}
    assert response.body == b"x"
    assert client.is_closed


def test_a_client_that_closes_in_the_middle_of_a_response_has_left(bench: MakeBench) -> None:
    """As nothing can be sent there to find out."""
    app = Streaming()
    client = bench(app).connect().send(GET)
    client.half_close()
    assert client.is_closed
    assert app.received == ["http.disconnect"]


class Streaming:
    """An app that begins a response and waits for its client to leave."""

    def __init__(self) -> None:
        self.received: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        self.received.append((await receive())["type"])


def test_an_http_1_0_client_that_closes_has_left(bench: MakeBench) -> None:
    """It knows no interim responses. nginx speaks HTTP/1.0 by default, and closes to call off."""
    app = Waiting()
    client = bench(app).connect().send(GET.replace(b"1.1", b"1.0"))
    client.half_close()
    assert app.received == ["http.disconnect"]


def test_an_app_may_be_cancelled(bench: MakeBench) -> None:
    """As uvicorn does at the end of its grace period."""
    one = bench(Waiting())
    client = one.connect().send(GET)
    (task,) = one.state.tasks
    one.call(task.cancel)
    assert client.statuses() == [500]
    assert not one.state.tasks


@pytest.mark.parametrize("is_first", [True, False])
def test_a_client_may_leave_at_the_very_moment_of_its_response(
    bench: MakeBench, *, is_first: bool
) -> None:
    """Before it is written, or before the next call begins."""
    calls: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        if is_first:
            client.wire.lose()
        await respond(send)
        client.wire.lose()

    one = bench(app)
    client = one.connect()
    client.send(GET + GET)
    assert client.statuses() == ([] if is_first else [200])
    assert calls == ["/"]
    assert not one.state.connections


def test_a_half_closed_client_gets_a_refusal_that_waits_its_turn(bench: MakeBench) -> None:
    """It is answered already, although nothing has been sent."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        turns._is_due, turns._left = True, 0  # as after many refusals in this turn
        await respond(send, status=503)

    one = bench(app)
    client = one.connect()
    assert one.http._host is not None
    turns = one.http._host.turns
    client.send(GET).half_close()
    assert not client.is_closed
    one.call(turns._next_turn)
    assert client.statuses() == [503]
    assert client.is_closed


def test_shutdown_lets_a_refusal_reach_its_client(bench: MakeBench) -> None:
    """A connection that is being closed is not closed again."""
    one = bench(echo)
    client = one.connect().send(b"nonsense\r\n\r\n")
    one.call(lambda: [it.shutdown() for it in tuple(one.state.connections)])
    assert client.statuses() == [400]
    assert not client.is_closed
    one.wait(6)
    assert client.is_closed


def test_shutdown_closes_idle_connections_and_lets_calls_end(bench: MakeBench) -> None:
    app = Waiting()
    one = bench(app)
    idle, busy, half = one.connect(), one.connect().send(GET), one.connect().send(GET[:5])
    one.call(lambda: [it.shutdown() for it in tuple(one.state.connections)])
    assert idle.is_closed
    assert half.is_closed
    assert not busy.is_closed
    one.call(app.go.set)
    (response,) = busy.responses()
    assert response.closes
    assert busy.is_closed
    assert not one.state.connections
