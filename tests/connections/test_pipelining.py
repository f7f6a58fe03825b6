"""Requests that are sent without waiting for responses."""

import asyncio
import gc
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.connection import Bench, Client, NoWebSocket, echo, respond

from potassium.connections import connection as connection_module
from potassium.connections.exchange import Exchange

MakeBench = Callable[..., Bench]


def get(number: int, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (b"Host: a", *fields))
    return b"GET /%d HTTP/1.1\r\n%b\r\n" % (number, lines)


def post(body: bytes) -> bytes:
    return b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(*chunks: bytes) -> bytes:
    content = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + content


def paths(client: Client) -> list[str]:
    return [json.loads(one.body)[1] for one in client.responses()]


class Gate:
    """An app that answers like ``echo``, when a test lets it: first come, first served."""

    def __init__(self) -> None:
        self.running: list[tuple[str, asyncio.Event]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        event = asyncio.Event()
        self.running.append((scope["path"], event))
        await event.wait()
        await echo(scope, receive, send)

    def open(self, bench: Bench) -> None:
        """Let the call that has waited longest go on."""
        bench.call(self.running.pop(0)[1].set)


def test_responses_come_in_order_and_one_call_runs_at_a_time(bench: MakeBench) -> None:
    gate = Gate()
    one = bench(gate)
    client = one.connect().send(get(0) + get(1), get(2) + get(3)[:10], get(3)[10:])
    for number in range(4):
        assert [path for path, _ in gate.running] == [f"/{number}"]
        gate.open(one)
    assert paths(client) == ["/0", "/1", "/2", "/3"]


@pytest.mark.parametrize("size", [18, 700, 1024, 1025, 100_000, 10_000_000])
def test_thousands_of_small_requests_are_answered(bench: MakeBench, size: int) -> None:
    """Whatever the segments that they come in."""
    data = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(3000))
    client = bench(echo).connect()
    client.send(*(data[start : start + size] for start in range(0, len(data), size)))
    assert paths(client) == [f"/{number}" for number in range(3000)]


@pytest.mark.parametrize("first", [get(0), b""])
@pytest.mark.parametrize("size", [700, 1000, 60_000])
def test_what_is_read_ahead_is_bounded(bench: MakeBench, size: int, first: bytes) -> None:
    """A client cannot make the server hold more by sending more, while its first call runs."""
    gate = Gate()
    one = bench(gate)
    client = one.connect().send(first)
    data = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(100_000))
    client.send(*(data[start : start + size] for start in range(0, len(data), size)))
    gc.collect()
    exchanges = [it for it in gc.get_objects() if type(it) is Exchange and not it.is_answered]
    assert len(exchanges) < 1 + 1024 // 18 + 1
    assert client.wire.is_paused
    held = len(data) - sum(len(segment) for segment in client.wire.incoming)
    assert held <= connection_module.MOST_BEHIND + size + 1024


def test_what_is_read_ahead_does_not_grow_as_requests_are_answered(bench: MakeBench) -> None:
    """A segment is read once what came before it is nearly used up, not at each response."""
    taken: list[int] = []
    segment = b"GET / HTTP/1.1\r\n\r\n" * 1000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        taken.append(len(client.wire.incoming))
        await respond(send)

    client = bench(app).connect()
    client.wire.incoming = [segment] * 3
    client.send(segment)
    assert len(taken) == 4000
    for answered, incoming in enumerate(taken):
        assert (4 - incoming) * 1000 <= answered + 2000


def test_half_a_head_behind_a_call_is_not_timed(bench: MakeBench) -> None:
    """It would cut off the call; the time begins when the call is answered."""
    gate = Gate()
    one = bench(gate)
    client = one.connect().send(get(0) + get(1)[:10])
    one.wait(60)
    gate.open(one)
    assert paths(client) == ["/0"]
    one.wait(9)
    assert not client.is_closed
    one.wait(3)
    assert client.is_closed


def test_a_body_behind_a_call_is_complete(bench: MakeBench) -> None:
    """Its head may have been read ahead in the segment of the call before."""
    gate = Gate()
    one = bench(gate)
    body = b"x" * 200_000
    whole = post(body)
    client = one.connect().send(get(0) + whole[:200], whole[200:50_000], whole[50_000:] + get(2))
    for _ in range(3):
        gate.open(one)
    _, second, third = client.responses()
    assert json.loads(second.body) == ["POST", "/p", body.decode()]
    assert json.loads(third.body)[1] == "/2"


def test_a_body_behind_a_call_that_stalls_is_given_up(bench: MakeBench) -> None:
    one = bench(echo)
    client = one.connect().send(get(0) + post(b"x" * 100)[:-50])
    assert paths(client) == ["/0"]
    one.wait(40)
    assert client.is_closed


def test_a_fault_waits_for_the_responses_before_it(bench: MakeBench) -> None:
    """Good requests are answered, whether the fault is in the same segment or not."""
    gate = Gate()
    one = bench(gate)
    client = one.connect().send(get(0) + get(1) + b"nonsense\r\n\r\n", b"more")
    for _ in range(2):
        gate.open(one)
    assert client.statuses() == [200, 200, 400]
    assert client.has_end


def test_nothing_follows_a_request_to_close(bench: MakeBench) -> None:
    client = bench(echo).connect()
    client.send(get(0) + get(1, b"Connection: close") + get(2), get(3))
    assert paths(client) == ["/0", "/1"]
    assert client.has_end


def test_a_websocket_request_behind_a_call_is_a_plain_request(bench: MakeBench) -> None:
    """The connection is not given away while a response is due."""
    gate = Gate()
    one = bench(gate, ws=NoWebSocket)
    client = one.connect()
    client.send(get(0) + get(1, b"Connection: upgrade", b"Upgrade: websocket"))
    gate.open(one)
    gate.open(one)
    assert paths(client) == ["/0", "/1"]


REQUESTS = st.sampled_from(
    [
        get(1),
        get(2, b"X: " + b"y" * 1500),
        get(3, b"Connection: close"),
        get(4, b"Connection: upgrade", b"Upgrade: h2c"),
        post(b""),
        post(b"abc"),
        post(b"a\r\n\r\nGET /x HTTP/1.1\r\n\r\n" * 60),
        chunked(b"abc", b"d" * 1200),
        chunked(),
        b"HEAD /h HTTP/1.1\r\n\r\n",
        b"GET /old HTTP/1.0\r\n\r\n",
        b"\r\n",
        b"nonsense\r\n\r\n",
        b"GET /n\r\n\r\n",
        post(b"abc")[:-1],
        chunked(b"abc").replace(b"3\r\n", b"4\r\n"),
    ]
)


def answers(data: bytes, cuts: list[int], pause: int) -> tuple[bytes, bool]:
    """Return what a server sends back, and whether it closes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(pause):
            await asyncio.sleep(0)
        await echo(scope, receive, send)

    one = Bench(app)
    try:
        client = one.connect()
        edges = [0, *sorted(cuts), len(data)]
        client.send(*(data[a:b] for a, b in pairwise(edges) if a < b))
        return client.wire.sent, client.has_end
    finally:
        one.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=6), st.data(), st.integers(0, 3))
def test_segments_make_no_difference(requests: list[bytes], data: Any, pause: int) -> None:
    """The same bytes get the same answers, wherever they are cut and however fast the app is."""
    stream = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    assert without_ids(answers(stream, cuts, pause)) == without_ids(answers(stream, [], 0))


def without_ids(given: tuple[bytes, bool]) -> tuple[list[bytes], bool]:
    sent, has_end = given
    lines = sent.split(b"\r\n")
    kept = [line.split(b'"request_id"')[0] for line in lines if b"x-request-id" not in line]
    return kept, has_end


STREAM = get(1) + post(b"a\r\n") + chunked(b"bc") + b"HEAD /h HTTP/1.0\r\n\r\n" + get(2)


def test_a_cut_at_any_byte_makes_no_difference() -> None:
    whole = answers(STREAM, [], 0)
    assert whole[0].count(b"HTTP/1.1 200") == 4
    for cut in range(len(STREAM)):
        assert answers(STREAM, [cut], 1) == whole
    assert answers(STREAM, list(range(len(STREAM))), 0) == whole
