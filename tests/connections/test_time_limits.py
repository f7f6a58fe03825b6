"""How long a client may take, and how long an idle connection is kept; no test waits for it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.connection import Bench, echo, respond

from potassium import Limits

MakeBench = Callable[..., Bench]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
LIMITS = Limits(head_timeout=10, body_timeout=20, connections=1000)


def lives(bench: Bench, client: Any, at_least: float, at_most: float) -> bool:
    """Let time pass; return whether the connection was closed between the two times."""
    bench.wait(at_least)
    if client.is_closed:
        return False
    bench.wait(at_most - at_least)
    return bool(client.is_closed)


def test_a_client_that_sends_nothing_is_closed(bench: MakeBench) -> None:
    one = bench(echo, LIMITS)
    assert lives(one, one.connect(), 10, 12)


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"])
def test_half_a_head_is_closed(bench: MakeBench, sent: bytes) -> None:
    one = bench(echo, LIMITS)
    client = one.connect().send(sent)
    assert lives(one, client, 10, 12)
    assert client.wire.sent == b""


def test_a_head_that_trickles_is_closed(bench: MakeBench) -> None:
    """The time is that of the whole head, not of a byte."""
    one = bench(echo, LIMITS)
    client = one.connect()
    for byte in b"GET / HTTP/1.1":
        client.send(bytes([byte]))
        one.wait(1)
    assert client.is_closed


def test_an_idle_connection_is_kept_for_its_time(bench: MakeBench) -> None:
    one = bench(echo, LIMITS, 30)
    client = one.connect()
    for _ in range(3):
        client.send(GET)
        one.wait(29)
    assert client.statuses() == [200] * 3
    assert lives(one, client, 1, 3)


def test_empty_lines_do_not_keep_an_idle_connection(bench: MakeBench) -> None:
    one = bench(echo, LIMITS, 30)
    client = one.connect().send(GET)
    for _ in range(32):
        client.send(b"\r\n")
        one.wait(1)
    assert client.is_closed


def test_a_second_head_has_its_own_time(bench: MakeBench) -> None:
    one = bench(echo, LIMITS, 30)
    client = one.connect().send(GET)
    one.wait(25)
    client.send(GET[:5])
    assert lives(one, client, 10, 12)


def test_no_keep_alive_at_all_is_no_busy_loop(bench: MakeBench) -> None:
    """``timeout_keep_alive=0`` closes after a response, and looks a hundred times a second."""
    one = bench(echo, LIMITS, 0)
    client = one.connect().send(GET)
    one.wait(0.5)
    assert client.statuses() == [200]
    assert client.is_closed


@pytest.mark.parametrize("segments", [[POST], [POST + b"ab"], [POST, b"a", b"b"]])
def test_a_body_that_stalls_is_given_up(bench: MakeBench, segments: list[bytes]) -> None:
    """Also where no handler of ours times it: its app is told."""
    got: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            pass
        got.append(message["type"])

    one = bench(app, LIMITS)
    client = one.connect().send(*segments)
    assert lives(one, client, 20, 26)
    assert got == ["http.disconnect"]


@pytest.mark.parametrize("segments", [[POST + b"abcd"], [POST, b"ab", b"cd"]])
def test_a_call_may_take_longer_than_its_body(bench: MakeBench, segments: list[bytes]) -> None:
    """Time limits for clients are over once the request is complete."""
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await go.wait()
        await respond(send)

    one = bench(app, LIMITS)
    client = one.connect().send(*segments)
    one.wait(1000)
    one.call(go.set)
    assert client.statuses() == [200]
    assert lives(one, client, 75, 77)


def test_an_app_that_is_slow_to_read_does_not_cost_the_client_its_connection(
    bench: MakeBench,
) -> None:
    """While reading pauses, the client cannot send; its time begins anew when reading goes on."""
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await echo(scope, receive, send)

    one = bench(app, LIMITS)
    client = one.connect()
    head = b"POST / HTTP/1.1\r\nContent-Length: 100001\r\n\r\n"
    client.send(head, b"x" * 100_000)
    assert client.wire.is_paused
    one.wait(1000)
    one.call(go.set)
    assert not client.is_closed
    assert lives(one, client, 20, 26)


def test_a_body_that_nobody_reads_has_a_time_of_its_own(bench: MakeBench) -> None:
    """A client that trickles it after the response does not hold the connection for long."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)

    one = bench(app, LIMITS)
    client = one.connect().send(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(26):
        client.send(b"x")
        one.wait(1)
    assert client.statuses() == [200]
    assert client.is_closed


def test_what_is_sent_after_a_refusal_is_read_for_a_while(bench: MakeBench) -> None:
    """Otherwise a reset might overtake the response (RFC 9112, section 9.6)."""
    one = bench(echo, LIMITS)
    client = one.connect().send(b"nonsense\r\n\r\n", *([b"x" * 100_000] * 10))
    assert client.statuses() == [400]
    assert client.has_end
    assert client.wire.incoming == []
    for _ in range(4):
        client.send(b"x")
        one.wait(1)
    assert not client.is_closed
    one.wait(3)
    assert client.is_closed


def test_a_response_to_half_a_body_that_closes_lingers_too(bench: MakeBench) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, status=413, headers=[(b"connection", b"close")])

    one = bench(app, LIMITS)
    head = b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"
    client = one.connect().send(head, *([b"x" * 100_000] * 5))
    assert client.statuses() == [413]
    assert client.wire.has_ended
    assert client.wire.incoming == []
    assert lives(one, client, 4, 7)


def test_a_download_may_take_longer_than_an_idle_connection(bench: MakeBench) -> None:
    """The connection is not idle while its client reads."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"x" * 10_000_000)

    for fields in (b"", b"Connection: close\r\n"):
        one = bench(app, LIMITS, 5)
        client = one.connect(0).send(GET.replace(b"Host: a\r\n", fields))
        for _ in range(100):
            client.read(100_000)
            one.wait(1)
        assert len(client.responses()[0].body) > 9_900_000
        client.read()
        assert client.responses()[0].complete


def test_no_client_is_closed_for_the_time_in_which_the_process_was_stopped(
    bench: MakeBench,
) -> None:
    """A pause, a debugger or a machine that slept: each client has the rest of its time."""
    one = bench(echo, LIMITS, 30)
    half, idle = one.connect(), one.connect()
    half.send(b"GET / HTTP/1.1\r\n")
    idle.send(GET)
    one.wait(5)
    one.loop.now += 3600
    one.loop.rest()
    one.wait(3)
    assert not half.is_closed
    assert not idle.is_closed
    one.wait(6)
    assert half.is_closed
    one.wait(20)
    assert idle.is_closed
