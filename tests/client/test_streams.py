"""Streams as iterators."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from client.conftest import Connect

from potassium import Potassium, Request
from potassium.client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidInput,
    Refused,
    ServerFailed,
    UnexpectedAnswer,
)

EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
END = b"event: end\ndata:\n\n"


@dataclass
class Step:
    i: int


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces; an error among them is raised."""

    def __init__(self, *pieces: bytes | Exception, then_waits: bool = False) -> None:
        self._pieces = pieces
        self._then_waits = then_waits
        self.is_closed = False
        self.closed = asyncio.Event()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece
        if self._then_waits:
            await anyio.sleep_forever()

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()  # closing may take a moment
        self.is_closed = True
        self.closed.set()


async def collect(stream: AsyncIterator[Any], got: list[Any]) -> None:
    """Keep what comes, also if an error comes after it."""
    async for chunk in stream:
        got.append(chunk)  # noqa: PERF401 - a comprehension would keep nothing


def serving(body: Body, headers: dict[str, str] | None = None) -> httpx.MockTransport:
    return httpx.MockTransport(
        lambda request: httpx.Response(200, headers=headers or EVENTS, stream=body)
    )


def client(*pieces: bytes | Exception, headers: dict[str, str] | None = None) -> Client:
    return Client("http://app", transport=serving(Body(*pieces), headers))


@pytest.fixture
def steps(app: Potassium) -> None:
    @app.handler("/steps")
    def steps(cache: dict[str, Any], request: Request) -> Any:
        for i in range(2):
            yield {"i": i}

    @app.handler("/text")
    def text(cache: dict[str, Any], request: Request) -> Any:
        yield "1"
        yield "two\nlines"

    @app.handler("/fails")
    def fails(cache: dict[str, Any], request: Request) -> Any:
        yield "a"
        raise RuntimeError


@pytest.mark.usefixtures("steps")
async def test_chunks_are_text_unless_a_type_is_asked_for(connect: Connect) -> None:
    """Events do not tell the text ``1`` from the number, so nothing is guessed."""
    client = await connect()
    assert [chunk async for chunk in client.stream("/text")] == ["1", "two\nlines"]
    assert [chunk async for chunk in client.stream("/text", into=str)] == ["1", "two\nlines"]
    assert [chunk async for chunk in client.stream("/steps")] == ['{"i":0}', '{"i":1}']
    assert [chunk async for chunk in client.stream("/steps", into=Step)] == [Step(0), Step(1)]


@pytest.mark.usefixtures("steps")
async def test_lines_keep_text_and_values_apart(connect: Connect) -> None:
    """``lines=True`` asks for lines of JSON."""
    client = await connect()
    lines = [chunk async for chunk in client.stream("/text", lines=True)]
    assert lines == ["1", "two\nlines"]
    assert [chunk async for chunk in client.stream("/steps", lines=True)] == [{"i": 0}, {"i": 1}]
    typed = [chunk async for chunk in client.stream("/steps", lines=True, into=Step)]
    assert typed == [Step(0), Step(1)]


@pytest.mark.usefixtures("steps")
async def test_bytes_are_the_body_as_it_arrives(connect: Connect) -> None:
    """For sound, and whatever else is no text."""
    client = await connect()
    pieces = [piece async for piece in client.stream("/text", into=bytes)]
    assert b"".join(pieces) == b"1two\nlines"


@pytest.mark.usefixtures("steps")
async def test_an_error_in_mid_stream_is_the_same_as_before_it(connect: Connect) -> None:
    """What arrived before it is not lost."""
    client = await connect()
    got: list[Any] = []
    with pytest.raises(ServerFailed) as caught:
        await collect(client.stream("/fails"), got)
    assert got == ["a"]
    assert (caught.value.status, caught.value.code) == (500, "handler_error")
    assert caught.value.request_id is not None


async def test_a_failure_before_the_first_chunk_is_that_of_a_call(
    app: Potassium, connect: Connect
) -> None:
    """It has its own status."""

    @app.handler("/typed")
    def typed(cache: dict[str, Any], item: Step) -> Any:
        yield "a"

    client = await connect()
    with pytest.raises(InvalidInput):
        await anext(client.stream("/typed", {"i": "x"}))


def test_a_refused_stream_is_asked_for_again() -> None:
    """Nothing of it has run."""
    answers = [
        httpx.Response(503, headers={"retry-after": "0"}),
        httpx.Response(200, headers=EVENTS, stream=Body(b"data: a\n\n" + END)),
    ]
    transport = httpx.MockTransport(lambda request: answers.pop(0))
    with Client("http://app", transport=transport) as client:
        assert list(client.stream("/")) == ["a"]


def test_comments_are_not_chunks() -> None:
    """The server sends them so that the connection is not taken for dead."""
    with client(b": keep-alive\n\n", b"data: a\n\n: keep-alive\n\n", END) as one:
        assert list(one.stream("/")) == ["a"]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: a\n\n"],
        [b"data: a\n\n", httpx.RemoteProtocolError("incomplete chunked read")],
        [b"data: a\n\ndata: b\n", httpx.ReadError("reset")],
    ],
)
def test_a_stream_that_is_cut_off_is_an_error(pieces: list[bytes | Exception]) -> None:
    """It had neither ``end`` nor ``error``, so it is incomplete. It is not asked for again."""
    got: list[Any] = []
    with client(*pieces) as one, pytest.raises(ConnectionFailed):
        got.extend(one.stream("/", idempotent=True))
    assert got == ["a"]


def test_a_line_that_is_cut_off_is_an_error() -> None:
    """It is not dropped; a proxy may end a body in good order where the server broke it off."""
    got: list[Any] = []
    headers = {"content-type": "application/x-ndjson"}
    with client(b"1\n2", headers=headers) as one, pytest.raises(ConnectionFailed):
        got.extend(one.stream("/", lines=True))
    assert got == [1]


@pytest.mark.parametrize("data", [b"oops", b"[1]"])
def test_a_stream_may_fail_in_another_form(data: bytes) -> None:
    """Other servers have events of their own that are called ``error``."""
    error = b"event: error\ndata: " + data + b"\n\n"
    with client(error) as one, pytest.raises(UnexpectedAnswer, match="The stream failed"):
        list(one.stream("/"))


def test_a_stream_is_not_a_response() -> None:
    """The error says where it is."""
    with client(b"data: a\n\n", END) as one, pytest.raises(TypeError, match="as its response"):
        list(one.stream("/", into=httpx.Response))


def test_a_stream_that_the_server_cannot_go_on_with_is_refused() -> None:
    """The problem document in the event has the status."""
    document = b'{"status": 503, "code": "draining", "detail": "The server is stopping."}'
    pieces = [b"data: a\n\n", b"event: error\ndata: " + document + b"\n\n"]
    with client(*pieces) as one, pytest.raises(Refused, match="503 draining"):
        list(one.stream("/"))


def test_an_answer_that_is_no_stream_is_an_error() -> None:
    """The error says what to use instead."""
    headers = {"content-type": "application/json"}
    with (
        client(b"{}", headers=headers) as one,
        pytest.raises(UnexpectedAnswer, match=r"use call\(\)"),
    ):
        list(one.stream("/"))


def test_a_chunk_of_another_type_is_an_error() -> None:
    """As for a call."""
    with client(b"data: {}\n\n", END) as one, pytest.raises(UnexpectedAnswer):
        list(one.stream("/", into=Step))


def test_the_response_is_there_once_the_stream_has_begun() -> None:
    """With the headers."""
    with client(b"data: a\n\n", END) as one, one.stream("/") as chunks:
        assert chunks.response is None
        next(chunks)
        response = chunks.response
        assert response is not None
        assert response.headers["content-type"] == EVENTS["content-type"]


def test_leaving_the_loop_closes_the_connection() -> None:
    """At once: the iterator is not kept by anything."""
    body = Body(b"data: a\n\ndata: b\n\n")
    with Client("http://app", transport=serving(body)) as one:
        gc.disable()
        try:
            for _ in one.stream("/"):
                break
            assert body.is_closed
        finally:
            gc.enable()


def test_a_stream_can_be_closed() -> None:
    """Then there is nothing more to iterate over."""
    body = Body(b"data: a\n\ndata: b\n\n")
    with Client("http://app", transport=serving(body)) as one:
        stream = one.stream("/")
        assert next(stream) == "a"
        stream.close()
        assert body.is_closed
        assert list(stream) == []


async def test_an_async_stream_is_closed_on_leaving_its_context() -> None:
    """Before the next line runs."""
    body = Body(b"data: a\n\n", then_waits=True)
    async with (
        AsyncClient("http://app", transport=serving(body)) as one,
        one.stream("/") as chunks,
    ):
        async for chunk in chunks:
            assert chunk == "a"
            assert chunks.response is not None
            break
    assert body.is_closed


async def test_an_async_stream_that_is_only_dropped_is_closed_by_the_loop() -> None:
    """A little later."""
    body = Body(b"data: a\n\n", then_waits=True)
    async with AsyncClient("http://app", transport=serving(body)) as one:
        async for _ in one.stream("/"):
            break
        with anyio.fail_after(5):
            await body.closed.wait()


async def test_cancelling_a_stream_closes_it_at_once() -> None:
    """When the cancelled task has ended, the connection is closed."""
    body = Body(b"data: a\n\n", then_waits=True)
    async with AsyncClient("http://app", transport=serving(body)) as one:
        with anyio.CancelScope() as scope:
            async for _ in one.stream("/"):
                scope.cancel()
        assert body.is_closed


async def test_the_deadline_is_for_the_stream_as_a_whole() -> None:
    """However many chunks there have been."""
    body = Body(b"data: a\n\n", then_waits=True)
    got: list[Any] = []
    async with AsyncClient("http://app", transport=serving(body)) as one:
        with pytest.raises(DeadlineExceeded):
            await collect(one.stream("/", deadline=0.05), got)
    assert got == ["a"]
    assert body.is_closed


def test_a_finished_stream_leaves_no_circle() -> None:
    """It is freed without the garbage collector."""
    with client(b"data: a\n\n", END) as one:
        stream = one.stream("/")
        list(stream)
        gone = weakref.ref(stream)
        del stream
        assert gone() is None
