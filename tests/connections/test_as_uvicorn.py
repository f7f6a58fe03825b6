"""Apps see the same as under uvicorn's own HTTP protocol, where that one is right."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from support.connection import Bench, respond
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MakeBench = Callable[..., Bench]

REQUESTS = {
    "plain": [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    "query": [b"GET /a/b?c=d&e=%20f HTTP/1.1\r\nHost: a\r\n\r\n"],
    "escapes": [b"GET /%C3%A9/%2F/%00%ff?%C3%A9 HTTP/1.1\r\nHost: a\r\n\r\n"],
    "fragment": [b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"],
    "absolute": [b"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n"],
    "repeated fields": [b"GET / HTTP/1.1\r\nX: 1\r\nx: 2\r\nCookie: a=b\r\n\r\n"],
    "odd fields": [b"GET / HTTP/1.1\r\nX:\r\nY:  a  b\t\r\nZ: \xe9\xff\r\n\r\n"],
    "body": [b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"],
    "body apart": [b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"a", b"bc"],
    "no body": [b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"],
    "chunks": [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    "chunks apart": [
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;e=f\r\nabc\r\n",
        b"2\r\nde\r\n",
        b"0\r\n\r\n",
    ],
    "expect": [b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", b"a"],
    "http 1.0": [b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na"],
    "head": [b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n"],
    "close": [b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"],
    "one after the other": [b"GET /a HTTP/1.1\r\n\r\n", b"DELETE /b HTTP/1.1\r\n\r\n"],
    "pipelined": [b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 1\r\n\r\na"],
    "large": [b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n", b"x" * 100_000, b"y" * 100_000],
}


class Recorder:
    """An app that keeps what it sees, and answers with a fixed response."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        events: list[Any] = []
        self.seen.append((dict(scope), events))
        while not events or events[-1]["more_body"]:
            events.append(await receive())
        await respond(send, b"abc", 201, [(b"X", b"y")])
        events.append(await receive())


def seen(make: MakeBench, segments: list[bytes], **options: Any) -> tuple[list[Any], bytes, bool]:
    app = Recorder()
    one = make(app, root_path="/root", proxy_headers=False, **options)
    one.state.default_headers = [(b"date", b"now")]
    client = one.connect().send(*segments)
    one.loop.rest()
    return app.seen, client.wire.sent, client.is_closed


@pytest.mark.parametrize("request_", REQUESTS)
def test_scopes_events_and_responses_are_the_same(bench: MakeBench, request_: str) -> None:
    ours = seen(bench, REQUESTS[request_])
    theirs = seen(bench, REQUESTS[request_], http=HttpToolsProtocol)
    assert ours[0] == theirs[0]
    assert sorted(ours[1].lower().split(b"\r\n")) == sorted(theirs[1].lower().split(b"\r\n"))
    assert ours[2] == theirs[2]
    assert len(ours[0]) >= 1


@pytest.mark.parametrize(
    ("target", "path", "query"), [(b"//a//b?c", "//a//b", b"c"), (b"*", "*", b"")]
)
def test_targets_that_uvicorn_refuses_are_served(
    bench: MakeBench, target: bytes, path: str, query: bytes
) -> None:
    segments = [b"OPTIONS " + target + b" HTTP/1.1\r\n\r\n"]
    ((scope, _),), _, _ = seen(bench, segments)
    assert (scope["path"], scope["query_string"]) == ("/root" + path, query)


@pytest.mark.parametrize(
    ("field", "client", "scheme"),
    [
        (b"Accept: */*", "127.0.0.1", "http"),
        (b"X-Forwarded-For: 10.1.2.3", "10.1.2.3", "http"),
        (b"X-Forwarded-Proto: https", "127.0.0.1", "https"),
    ],
)
def test_apps_see_what_a_trusted_proxy_says_of_the_client(
    bench: MakeBench, field: bytes, client: str, scheme: str
) -> None:
    app = Recorder()
    one = bench(app, forwarded_allow_ips="127.0.0.1")
    one.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n")
    ((scope, _),) = app.seen
    assert (scope["client"][0], scope["scheme"]) == (client, scheme)


@pytest.mark.parametrize("resets", [True, False])
def test_context_variables_are_inherited_unless_they_are_reset(
    bench: MakeBench, *, resets: bool
) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, variable.get().encode())

    one = bench(app, reset_contextvars=resets)
    token = variable.set("inherited")
    client = one.connect().send(*REQUESTS["plain"])
    variable.reset(token)
    assert client.responses()[0].body == (b"none" if resets else b"inherited")


def test_a_uvicorn_that_cannot_reset_them_will_do(bench: MakeBench) -> None:
    """The option is younger than the oldest version that is supported."""
    one = bench(Recorder())
    vars(one.config).pop("reset_contextvars", None)
    assert one.connect().send(*REQUESTS["plain"]).statuses() == [201]
