"""Responses over the wire are what the app meant, or visibly not."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from support.connection import Bench, echo, respond

MakeBench = Callable[..., Bench]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
EXPECTS = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def sends(*messages: dict[str, Any], error: BaseException | None = None) -> Any:
    """Return an app that sends ``messages``, and then raises ``error``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        if error is not None:
            raise error

    return app


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


def test_a_response_of_a_known_length_keeps_the_connection(bench: MakeBench) -> None:
    client = bench(sends(start(200, length(3)), body(b"a", more=True), body(b"bc"))).connect()
    client.send(GET, GET)
    assert [(one.body, one.closes) for one in client.responses()] == [(b"abc", False)] * 2
    assert not client.is_closed


def test_a_response_of_an_unknown_length_is_chunked(bench: MakeBench) -> None:
    client = bench(sends(start(), body(b"a", more=True), body(more=True), body(b"bc"))).connect()
    client.send(GET)
    assert client.wire.sent.endswith(b"\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")
    assert client.send(GET).statuses() == [200, 200]


def test_http_1_0_gets_no_chunks(bench: MakeBench) -> None:
    """The end of the connection is that of the response."""
    client = bench(sends(start(), body(b"a", more=True), body(b"bc"))).connect()
    client.send(GET_1_0)
    (response,) = client.responses()
    assert (response.body, response.closes) == (b"abc", True)
    assert b"transfer-encoding" not in response.headers
    assert client.is_closed


def test_how_content_is_framed_is_not_up_to_the_app(bench: MakeBench) -> None:
    """A length and chunks together are how requests are smuggled (RFC 9112, section 6.3)."""
    encoding = (b"Transfer-Encoding", b"chunked")
    client = bench(sends(start(200, encoding, length(2)), body(b"ab"))).connect().send(GET)
    assert [one.body for one in client.responses()] == [b"ab"]
    client = bench(sends(start(200, encoding), body(b"ab"))).connect().send(GET_1_0)
    assert [one.body for one in client.responses()] == [b"ab"]


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_none(bench: MakeBench, status: int) -> None:
    """Whatever the app says; the next response is where the client expects it."""
    client = bench(sends(start(status), body(b"content"))).connect().send(GET, GET)
    assert client.wire.sent.endswith(b"\r\n\r\n")
    assert client.statuses() == [status, status]


def test_a_204_has_no_length(bench: MakeBench) -> None:
    """RFC 9110, section 8.6."""
    app = sends(start(204, length(0), (b"connection", b"close")), body())
    (response,) = bench(app).connect().send(GET).responses()
    assert response.headers == {b"connection": b"close"}


def test_a_status_without_a_name_may_be_sent(bench: MakeBench) -> None:
    client = bench(sends(start(299, length(0)), body())).connect().send(GET)
    assert client.wire.sent.startswith(b"HTTP/1.1 299 \r\n")


def test_a_head_request_gets_no_content(bench: MakeBench) -> None:
    """But the length that GET would get."""
    client = bench(sends(start(200, length(3)), body(b"abc"))).connect().send(HEAD, HEAD)
    assert [one.headers[b"content-length"] for one in client.responses("HEAD", "HEAD")] == [
        b"3"
    ] * 2
    client = bench(sends(start(), body(b"abc"))).connect().send(HEAD, HEAD)
    assert client.statuses("HEAD", "HEAD") == [200, 200]


WRONG = {
    "too much": [start(200, length(2)), body(b"abc")],
    "too little": [start(200, length(4)), body(b"abc")],
    "no length": [start(200, (b"content-length", b"x")), body()],
    "negative length": [start(200, (b"content-length", b"-1")), body()],
    "two lengths": [start(200, length(2), length(2)), body(b"ab")],
    "line break in a value": [start(200, (b"x", b"a\r\nset-cookie: b")), body()],
    "line feed in a value": [start(200, (b"x", b"a\nb")), body()],
    "return in a value": [start(200, (b"x", b"a\rb")), body()],
    "NUL in a value": [start(200, (b"x", b"a\0b")), body()],
    "line break in a name": [start(200, (b"x\r\ny", b"a")), body()],
    "informational status": [start(101), body()],
    "status that is none": [start(20), body()],
    "status of four digits": [start(2000), body()],
    "body before the start": [body()],
    "unknown message": [{"type": "http.response.pathsend"}],
    "text for bytes": [start(200, length(1)), {"type": "http.response.body", "body": "a"}],
    "no response": [],
    "no content": [start(200, length(2))],
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_response_that_cannot_be_sent_becomes_a_500(
    bench: MakeBench, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """None of it reaches the client, and the log says what was wrong."""
    client = bench(sends(*WRONG[fault])).connect().send(GET)
    (response,) = client.responses()
    assert (response.status, response.closes) == (500, True)
    assert json.loads(response.body)["request_id"] == response.headers[b"x-request-id"].decode()
    assert client.has_end
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


BROKEN_OFF = {
    "too little at the end": [start(200, length(4)), body(b"a", more=True), body(b"bc")],
    "too much at the end": [start(200, length(2)), body(b"a", more=True), body(b"bc")],
    "two starts": [start(), start()],
    "no end": [start(), body(b"a", more=True)],
    "no end of a known length": [start(200, length(3)), body(b"a", more=True)],
}


@pytest.mark.parametrize("fault", BROKEN_OFF)
@pytest.mark.parametrize("request_", [GET, GET_1_0])
def test_a_response_that_fails_later_does_not_look_whole(
    bench: MakeBench, fault: str, request_: bytes
) -> None:
    """With chunks or a length, an end is missing; otherwise the connection is reset."""
    client = bench(sends(*BROKEN_OFF[fault])).connect().send(request_)
    assert client.is_closed
    (response,) = client.responses()
    assert not response.complete or client.wire.was_aborted


@pytest.mark.parametrize("error", [ValueError("a"), SystemExit(3), KeyboardInterrupt()])
def test_an_app_that_raises_is_answered_500(
    bench: MakeBench, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """Whatever it is, it does not reach the event loop, and is on the log once."""
    client = bench(sends(error=error)).connect().send(GET)
    assert client.statuses() == [500]
    assert len(caplog.records) == 1


def test_an_app_that_raises_after_the_end_harms_nothing(bench: MakeBench) -> None:
    client = bench(sends(start(200, length(0)), body(), error=ValueError("a"))).connect()
    assert client.send(GET, GET).statuses() == [200, 200]


def test_a_500_to_a_head_request_has_no_content(bench: MakeBench) -> None:
    client = bench(sends()).connect().send(HEAD)
    assert client.wire.sent.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("fields", [b"Connection: close", b"Connection: x, Close"])
def test_a_client_can_ask_to_close(bench: MakeBench, fields: bytes) -> None:
    client = bench(echo).connect().send(GET.replace(b"Host: a", fields))
    (response,) = client.responses()
    assert response.closes
    assert client.is_closed


def test_an_app_can_close(bench: MakeBench) -> None:
    """The header is sent once."""
    app = sends(start(200, (b"Connection", b"close"), length(0)), body())
    client = bench(app).connect().send(GET)
    (response,) = client.responses()
    assert response.closes
    assert client.is_closed


def test_100_continue_is_sent_when_the_app_reads(bench: MakeBench) -> None:
    client = bench(echo).connect().send(EXPECTS)
    assert client.statuses() == [100]
    client.send(b"abc")
    assert json.loads(client.responses()[-1].body)[2] == "abc"
    client.send(EXPECTS + b"abc")  # it is here already
    assert client.statuses() == [100, 200, 200]


def test_an_app_that_does_not_read_sends_no_100_continue(bench: MakeBench) -> None:
    """The client may send its content now or never, so what follows would be ambiguous."""
    client = bench(sends(start(413, length(0)), body())).connect().send(EXPECTS)
    (response,) = client.responses()
    assert (response.status, response.closes) == (413, True)
    assert client.has_end


def test_no_100_continue_follows_the_start_of_a_response(bench: MakeBench) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await receive()
        await send(body())

    client = bench(app).connect().send(EXPECTS, b"abc")
    assert client.statuses() == [200]


def test_http_1_0_gets_no_100_continue(bench: MakeBench) -> None:
    client = bench(echo).connect().send(EXPECTS.replace(b"1.1", b"1.0"), b"abc")
    assert client.statuses() == [200]


def test_date_and_server_are_those_of_uvicorn(bench: MakeBench) -> None:
    """They are renewed as uvicorn does."""
    one = bench(echo)
    client = one.connect()
    for date in (b"today", b"tomorrow"):
        one.state.default_headers = [(b"date", date)]
        client.send(GET)
    assert [it.headers[b"date"] for it in client.responses()] == [b"today", b"tomorrow"]


def test_an_app_gets_the_body_as_it_comes(bench: MakeBench) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not got or got[-1]["more_body"]:
            got.append(await receive())
        await respond(send)
        got.append(await receive())

    head = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"
    bench(app).connect().send(head + b"a", b"b", b"cd")
    assert got == [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": True},
        {"type": "http.request", "body": b"cd", "more_body": False},
        {"type": "http.disconnect"},
    ]


def test_a_body_that_the_app_does_not_read_is_not_piled_up(bench: MakeBench) -> None:
    """Reading pauses, and goes on when the app reads or has answered."""
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await respond(send)

    one = bench(app)
    client = one.connect()
    client.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", *([b"x" * 50_000] * 20))
    assert len(client.wire.incoming) == 18
    one.call(go.set)
    assert client.statuses() == [200]
    assert client.wire.incoming == []
    assert client.send(GET).statuses() == [200, 200]


def test_a_small_request_is_answered_with_one_write(bench: MakeBench) -> None:
    """What is parsed together runs together: one task, one write."""
    writes: list[bytes] = []
    client = bench(echo).connect()
    write = client.wire.write
    client.wire.write = lambda data: (writes.append(data), write(data))[1]  # type: ignore[method-assign, func-returns-value]
    client.send(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
    assert len(writes) == 1
