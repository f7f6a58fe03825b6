"""Streams of calls that Python code makes in the same process."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import torch
from support.calls import Own, until
from support.engine import thread_of

from potassium import Potassium, Request, Response, UsageError
from potassium.errors import DeadlineExceeded, Draining, HandlerError


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
async def streaming(app: Potassium, ended: list[str]) -> AsyncIterator[Potassium]:
    """Return a running app whose handlers stream, and note how they ended."""

    @app.handler("/count")
    def count(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        try:
            for n in range(item.get("n", 10**9)):
                yield (n, item)
            ended.append("at its end")
        except GeneratorExit:
            ended.append("closed")
            raise

    @app.handler("/loop")
    async def loop(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        for n in range(item["n"]):
            yield (n, item)

    @app.handler("/push")
    def push(cache: dict[str, Any], request: Request) -> Any:
        for n in range(2):
            request.send((n, request.json))
        return (2, request.json)

    @app.handler("/broken")
    def broken(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        yield "first"
        raise ZeroDivisionError

    app.handler("/plain")(lambda cache, item: (0, item))
    app.handler("/response")(lambda cache, item: Response(body=iter("ab")))
    async with app.lifespan():
        yield app


@pytest.mark.parametrize(("path", "chunks"), [("/count", 3), ("/loop", 3), ("/push", 3)])
async def test_chunks_come_as_the_handlers_own_objects(
    streaming: Potassium, path: str, chunks: int
) -> None:
    """However the handler streams; a call for all at once gets a list."""
    item = {"n": 3}
    seen = [chunk async for chunk in streaming.stream(path, item)]
    assert seen == [(n, item) for n in range(chunks)] == await streaming.call(path, item)


async def test_the_body_of_a_response_streams_as_well(streaming: Potassium) -> None:
    """Its status and headers are of no use in the process."""
    assert [chunk async for chunk in streaming.stream("/response", {})] == ["a", "b"]


async def test_a_handler_that_returns_has_one_chunk(streaming: Potassium) -> None:
    """So that code that can take a stream need not know whether there is one."""
    assert [chunk async for chunk in streaming.stream("/plain", {})] == [(0, {})]


async def test_a_stream_that_is_left_is_called_off(streaming: Potassium, ended: list[str]) -> None:
    """After a ``break``, the generator is closed at its current ``yield``."""
    async for chunk in streaming.stream("/count", {}):
        if chunk[0] == 2:
            break
    await until(lambda: ended)
    assert ended == ["closed"]
    services = streaming._runtime.services
    assert services is not None
    assert not services.engine.calls


async def test_a_stream_is_called_off_when_its_context_ends(
    streaming: Potassium, ended: list[str]
) -> None:
    """Also while something still refers to its chunks, which are at their end then."""
    async with streaming.stream("/count", {}) as chunks:
        assert await anext(chunks) == (0, {})
    await until(lambda: ended)
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)


async def test_a_stream_is_called_off_when_its_reader_is_cancelled(
    streaming: Potassium, ended: list[str]
) -> None:
    """As when the client of a parent's own streaming route disconnects."""

    async def read() -> None:
        async for _ in chunks:
            pass

    chunks = streaming.stream("/count", {})
    reading = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.wait({reading})
    await until(lambda: ended)
    assert ended == ["closed"]


@pytest.mark.parametrize("has_begun", [False, True], ids=["at its begin", "in the middle"])
async def test_a_stream_may_be_closed_while_another_task_reads_it(
    app: Potassium, has_begun: bool
) -> None:
    """The reader is told that there are no more chunks, and the call is called off."""
    go, ended = asyncio.Event(), []

    @app.handler
    async def handler(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        try:
            if has_begun:
                yield "first"
            await go.wait()
            yield "next"
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    async with app.lifespan():
        chunks = app.stream("/", {})
        if has_begun:
            assert await anext(chunks) == "first"
        reading = asyncio.ensure_future(anext(chunks, "closed"))
        await asyncio.sleep(0)
        await chunks.aclose()
        go.set()
        assert await reading == "closed"
        await until(lambda: ended)
        assert await anext(chunks, "closed") == "closed"


async def test_two_tasks_cannot_wait_for_chunks_of_one_stream(app: Potassium) -> None:
    """The second one gets an error, where one of them would otherwise wait forever."""
    go = asyncio.Event()

    @app.handler
    async def handler(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        await go.wait()
        yield "chunk"

    async with app.lifespan():
        chunks = app.stream("/", {})
        reading = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="one task"):
            await anext(chunks)
        go.set()
        assert await reading == "chunk"
        await chunks.aclose()


async def test_a_stream_that_nothing_refers_to_is_called_off_from_any_thread(
    streaming: Potassium, ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may run on the GPU thread; what it starts runs on the event loop."""
    services = streaming._runtime.services
    assert services is not None
    release, threads = services.engine.release, []

    def note(stream: Any) -> None:
        threads.append(threading.current_thread())
        release(stream)

    monkeypatch.setattr(services.engine, "release", note)
    chunks = [await streaming.stream("/count", {})]
    await asyncio.to_thread(chunks.clear)
    await until(lambda: ended)
    assert threads == [threading.current_thread()]


async def test_a_refusal_comes_before_the_first_chunk(streaming: Potassium) -> None:
    """Awaiting the chunks makes the call, so that a route can still answer with a status."""
    chunks = await streaming.stream("/count", {"n": 1})
    assert [chunk async for chunk in chunks] == [(0, {"n": 1})]
    streaming._runtime.drain()
    with pytest.raises(Draining):
        await streaming.stream("/count", {})
    with pytest.raises(Draining):
        await anext(streaming.stream("/count", {}))


async def test_an_error_in_mid_stream_follows_the_chunks(
    streaming: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """The chunks before it arrive, then the error is raised and logged."""
    chunks = streaming.stream("/broken", {})
    assert await anext(chunks) == "first"
    with pytest.raises(HandlerError) as raised:
        await anext(chunks)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert "/broken failed: handler_error" in caplog.text
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)


async def test_a_stream_ends_at_its_deadline(streaming: Potassium, ended: list[str]) -> None:
    """``timeout=`` is for the stream as a whole."""
    with pytest.raises(DeadlineExceeded):
        async for _ in streaming.stream("/count", {}, timeout=0.05):
            pass
    await until(lambda: ended)


async def test_a_stream_waits_for_its_reader(streaming: Potassium, ended: list[str]) -> None:
    """A reader that takes nothing holds up its stream, however small the chunks are, not memory."""
    async with streaming.stream("/count", {"n": 10**6}) as chunks:
        services = streaming._runtime.services
        assert services is not None
        await until(
            lambda: any(one.has_stalled for one in thread_of(services.engine).worker._slots)
        )
        await anext(chunks)
    await until(lambda: ended)
    assert ended == ["closed"]


@pytest.mark.parametrize(
    ("chunk", "most"),
    [
        (torch.zeros(1024, 1024), 1),
        ({"frames": [torch.zeros(1024, 1024)]}, 1),
        (Own(), 17),
        ("a" * 1000, 1000),
    ],
    ids=["array", "arrays inside", "unknown", "text"],
)
async def test_chunks_count_with_their_size(app: Potassium, chunk: Any, most: int) -> None:
    """A few large ones fill a stream's buffer, and hold the stream up until they are read."""
    made = []

    @app.handler
    def handler(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        while True:
            made.append(1)
            yield chunk

    async with app.lifespan(), app.stream("/", {}) as chunks:
        services = app._runtime.services
        assert services is not None
        await until(
            lambda: any(one.has_stalled for one in thread_of(services.engine).worker._slots)
        )
        assert most / 2 < len(made) <= most
        assert type(await anext(chunks)) is type(chunk)
