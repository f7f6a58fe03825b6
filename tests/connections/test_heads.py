"""What is no request is refused, and the head of one is bounded."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.connection import Bench, NoWebSocket, echo

from potassium import Limits
from potassium.connections import request_reader

MakeBench = Callable[..., Bench]

GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZE = 4096

MALFORMED = {
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "folded field": b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
    "CR in a value": b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: a\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nX\r\n\r\n",
    "non-ASCII target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\n\r\n",
    "bad port in the target": b"GET http://h:port/ HTTP/1.1\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "list of lengths": POST + b"Content-Length: 5, 5\r\n\r\n",
    "signed length": POST + b"Content-Length: +5\r\n\r\n",
    "empty length": POST + b"Content-Length: \r\n\r\n",
    "length beyond 64 bits": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    "two encodings": POST + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "compressed chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "unknown encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "obfuscated encoding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunk line ended by LF": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "space after the size": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "hexadecimal prefix": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "LF in an extension": CHUNKED + b'3;a="\n"\r\nabc\r\n0\r\n\r\n',
    "chunk longer than its size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "size beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\n",
    "length in the trailers": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_what_is_no_request_is_answered_400_and_closed(bench: MakeBench, fault: str) -> None:
    """What follows is not read, as nobody knows where it begins."""
    client = bench(echo).connect()
    client.send(MALFORMED[fault] + GET)
    (response,) = client.responses()
    assert (response.status, response.closes) == (400, True)
    assert json.loads(response.body)["code"] == "malformed_request"
    assert client.has_end


def test_a_fault_in_a_body_that_an_app_awaits_is_answered_400(bench: MakeBench) -> None:
    """The app, which has begun, is told that its client has disconnected."""
    client = bench(echo).connect()
    client.send(CHUNKED + b"3\r\nabc\r\n", b"nonsense\r\n")
    assert client.statuses() == [400]
    assert client.has_end


def test_a_fault_in_a_body_breaks_off_a_response_that_has_begun(bench: MakeBench) -> None:
    """No other response can follow, so that the end is missing."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await receive()
        await receive()
        await send({"type": "http.response.body"})

    client = bench(app).connect().send(CHUNKED + b"3\r\nabc\r\n", b"nonsense\r\n")
    (response,) = client.responses()
    assert (response.status, response.complete) == (200, False)
    assert client.is_closed


def bounded(target: int = 0, field: int = 0, fields: int = 0, name: int = 0) -> bytes:
    """Return a request with parts of given sizes."""
    return b"GET /%b HTTP/1.1\r\n%b: %b\r\n%b\r\n" % (
        b"t" * target,
        b"n" * name or b"n",
        b"v" * field,
        b"".join(b"f%d:\r\n" % number for number in range(fields)),
    )


TOO_LARGE = {
    "target": bounded(target=SIZE),
    "one value": bounded(field=SIZE),
    "one name": bounded(name=SIZE),
    "many fields": bounded(fields=300),
    "trailers": CHUNKED + b"0\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
    "chunk extension": CHUNKED + b"3;" + b"a" * 2 * SIZE + b"\r\n",
    "leading zeros of a chunk's size": CHUNKED + b"0" * 2 * SIZE + b"3\r\n",
}


@pytest.mark.parametrize("part", TOO_LARGE)
@pytest.mark.parametrize("size", [1, 1000, 1_000_000])
def test_a_head_that_is_too_large_is_answered_431(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, part: str, size: int
) -> None:
    """However it arrives, and whatever part of it is large; so are trailers and chunk headers."""
    monkeypatch.setattr(request_reader, "MOST_FIELDS", 256)
    client = bench(echo, Limits(head_size=SIZE)).connect()
    data = TOO_LARGE[part]
    client.send(*(data[start : start + size] for start in range(0, len(data), size)))
    (response,) = client.responses()
    assert (response.status, response.closes) == (431, True)
    assert json.loads(response.body)["code"] == "head_too_large"
    assert client.has_end


@pytest.mark.parametrize("size", [1, 1000, 1_000_000])
def test_a_head_of_just_the_size_is_served(bench: MakeBench, size: int) -> None:
    """Target, names and values count."""
    client = bench(echo, Limits(head_size=SIZE)).connect()
    data = bounded(field=SIZE - 2)
    for taken in (data, data.replace(b"GET /", b"GET /x")):
        client.send(*(taken[start : start + size] for start in range(0, len(taken), size)))
    assert client.statuses() == [200, 431]


def test_256_fields_are_served(bench: MakeBench) -> None:
    client = bench(echo).connect()
    client.send(bounded(fields=255), bounded(fields=256))
    assert client.statuses() == [200, 431]


def test_an_endless_head_is_not_kept(bench: MakeBench) -> None:
    """Nothing of it is held beyond the limit, while the client still sends."""
    client = bench(echo, Limits(head_size=65_536)).connect()
    client.send(b"GET / HTTP/1.1\r\n", *(b"X: %b\r\n" % (b"v" * 10_000) for _ in range(20)))
    assert client.statuses() == [431]
    client.send(*([b"X" * 100_000] * 10))
    assert client.wire.incoming == []
    connection: Any = client.wire.protocol
    assert sum(len(value) for _, value in connection._reader._fields) <= 65_536
    assert connection._behind == b""


def test_many_small_chunks_are_no_fault(bench: MakeBench) -> None:
    """What is neither head nor body is bounded between two bytes of the body, not in all."""
    client = bench(echo, Limits(head_size=SIZE)).connect()
    client.send(CHUNKED, *([b"1;%b\r\na\r\n" % (b"e" * 1000)] * 20), b"0\r\n\r\n")
    (response,) = client.responses()
    assert json.loads(response.body) == ["POST", "/", "a" * 20]


def test_trailers_are_dropped(bench: MakeBench) -> None:
    """They never become header fields of this request or of the next one."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        seen.append(dict(scope["headers"]))

    client = bench(app).connect()
    client.send(CHUNKED + b"3\r\nabc\r\n0\r\nX-Evil: 1\r\n\r\n" + GET)
    assert client.statuses() == [200, 200]
    assert seen == [{b"host": b"a", b"transfer-encoding": b"chunked"}, {b"host": b"a"}]


def test_empty_lines_before_a_request_are_skipped(bench: MakeBench) -> None:
    """RFC 9112, section 2.2: old clients send one after a body."""
    client = bench(echo).connect()
    client.send(b"\r\n\r\n" + GET + b"\r\n", b"\r\n", GET)
    assert client.statuses() == [200, 200]


TARGETS = {
    b"/a?b=c": ("/a", b"/a", b"b=c"),
    b"/a?b?c": ("/a", b"/a", b"b?c"),
    b"/": ("/", b"/", b""),
    b"//double//x": ("//double//x", b"//double//x", b""),
    b"/%C3%A9%2F%00?%41": ("/\xe9/\0", b"/%C3%A9%2F%00", b"%41"),
    b"/%ff%zz": ("/\ufffd%zz", b"/%ff%zz", b""),
    b"/a#b?c": ("/a", b"/a", b""),
    b"*": ("*", b"*", b""),
    b"http://h:1/a?b": ("/a", b"/a", b"b"),
    b"http://h": ("/", b"/", b""),
    b"http://h?b": ("/", b"/", b"b"),
    b"/a:b@c": ("/a:b@c", b"/a:b@c", b""),
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.decode())
def test_targets_of_every_form_are_understood(bench: MakeBench, target: bytes) -> None:
    """RFC 9112, section 3.2."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["raw_path"], scope["query_string"]))
        await echo(scope, receive, send)

    client = bench(app).connect()
    client.send(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.statuses() == [200]
    assert seen == [TARGETS[target]]


@pytest.mark.parametrize("body", [b"Content-Length: 3\r\n\r\nabc", b"Content-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("cut", [0, 30, 90])
def test_an_upgrade_to_something_else_is_ignored(bench: MakeBench, body: bytes, cut: int) -> None:
    """RFC 9110, section 7.8; its body and the next request are read as ever."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append([name for name, _ in scope["headers"]])
        await echo(scope, receive, send)

    client = bench(app).connect()
    data = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" + body
    client.send(data[:cut], data[cut:] + GET)
    assert [json.loads(one.body)[:2] for one in client.responses()] == [
        ["POST", "/"],
        ["GET", "/next"],
    ]
    assert json.loads(client.responses()[0].body)[2] == ("abc" if b"abc" in body else "")
    assert b"upgrade" not in seen[0]


def test_an_upgrade_by_http_1_0_stays_http_1_0(bench: MakeBench) -> None:
    client = bench(echo, ws=NoWebSocket).connect()
    client.send(b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    (response,) = client.responses()
    assert (response.status, response.closes) == (200, True)
