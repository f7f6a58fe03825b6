"""Streams: how many are open, their first chunk, their chunks and stalls."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.metrics import scrape
from support.operations import operation_on

from potassium import Potassium, Request
from potassium.engine import End, Job
from potassium.engine.bridge import Bridge
from potassium.engine.stream import Stream
from potassium.errors import ClientLeft
from potassium.observe.metrics.calls import CallMetrics
from potassium.testing import client

OPEN = "potassium_streams_open"
CHUNKS = "potassium_stream_chunks_total"
FIRST = "potassium_stream_first_chunk_seconds"
UNUSED: Bridge[Stream[Job]] = Bridge(lambda _: None, lambda _: None)


def new_app(kind: str, go: threading.Event) -> Potassium:
    """Return an app whose handler sends a chunk, waits, and sends another."""
    app = Potassium("test", metrics=True)

    def generator(cache: dict[str, Any], json_in: Any) -> Iterator[str]:
        yield "a"
        assert go.wait(10)
        yield "b"

    def pushes(cache: dict[str, Any], request: Request) -> None:
        request.send("a")
        assert go.wait(10)
        request.send("b")

    async def on_the_loop(cache: dict[str, Any], json_in: Any) -> AsyncIterator[str]:
        yield "a"
        while not go.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0.001)
        yield "b"

    app.handler({"generator": generator, "pushes": pushes, "async": on_the_loop}[kind])
    return app


@pytest.mark.parametrize("kind", ["generator", "pushes", "async"])
async def test_a_stream_is_open_from_its_first_chunk_to_its_end(kind: str) -> None:
    """Its chunks are counted as they are taken, not only at the end."""
    go = threading.Event()
    app = new_app(kind, go)
    async with client(app) as http:
        chunks = app.stream("/", {})
        assert await anext(chunks) == "a"
        seen = await scrape(http)
        assert (seen.value(OPEN), seen.value(CHUNKS)) == (1, 1)
        assert seen.value(f"{FIRST}_count", handler="/") == 1
        assert seen.value("potassium_run_duration_seconds_count", handler="/") == 0
        go.set()
        assert [chunk async for chunk in chunks] == ["b"]
        seen = await scrape(http)
        assert (seen.value(OPEN), seen.value(CHUNKS)) == (0, 2)
        assert seen.value("potassium_run_duration_seconds_count", handler="/") == 1
        assert seen.value("potassium_calls_total", outcome="succeeded") == 1


async def test_a_stream_whose_client_leaves_is_open_no_more() -> None:
    """Some of it was taken, so its time was not in vain."""
    go = threading.Event()
    app = new_app("generator", go)
    async with client(app) as http:
        async with app.stream("/", {}) as chunks:
            assert await anext(chunks) == "a"
        go.set()
        for _ in range(100):
            seen = await scrape(http)
            if seen.value("potassium_run_duration_seconds_count", handler="/"):
                break
            await asyncio.sleep(0.01)
        assert (seen.value(OPEN), seen.value(CHUNKS)) == (0, 1)
        assert seen.value("potassium_calls_total", outcome="client_left") == 1
        assert seen.value("potassium_wasted_gpu_seconds_total") == 0


async def test_a_first_chunk_that_comes_too_late_opens_nothing() -> None:
    """The caller may have gone before the loop hears of the chunk."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.stream = Stream(job, UNUSED)
    job.call_off(ClientLeft())
    calls.closed(job, End.CANCELLED)
    job.stream.began_at = 1.0
    calls.streams(job)
    assert not calls.handlers["/"].streams


@pytest.mark.parametrize("is_seen", [True, False])
@pytest.mark.parametrize("counter", ["chunks", "stalls"])
async def test_counters_of_streams_neither_fall_nor_leap(counter: str, is_seen: bool) -> None:
    """They are read on another thread: a stream may end while those that are open are summed up."""
    calls, operation = CallMetrics(), operation_on("/", lambda _: None)
    calls.begin([operation])
    figures = calls.handlers["/"]

    class Ending(set[Job]):
        """Streams, of which one ends as they are looked through."""

        def __iter__(self) -> Iterator[Job]:
            seen = [job] if is_seen else []
            calls.closed(job, End.SUCCEEDED)
            return iter(seen)

    job = Job(operation, None, asyncio.get_running_loop().create_future())
    job.stream = Stream(job, UNUSED)
    job.stream.began_at, job.stream.chunks, job.stream.stalls = 1.0, 3, 2
    calls.streams(job)
    before = getattr(figures, counter)
    figures.streams = Ending(figures.streams)
    assert before == getattr(figures, counter) > 0
    figures.streams = set()
    assert before == getattr(figures, counter)


async def test_stalls_are_counted() -> None:
    """A stream whose reader does not keep up gives up its turns."""
    app, size = Potassium("test", metrics=True), 1024 * 1024

    @app.handler
    def handler(cache: dict[str, Any], json_in: Any) -> Iterator[str]:
        for _ in range(5):
            yield "x" * size

    async with client(app) as http:
        chunks = app.stream("/", {})
        await anext(chunks)
        for _ in range(200):
            seen = await scrape(http)
            if seen.value("potassium_stream_stalls_total"):
                break
            await asyncio.sleep(0.01)
        assert seen.value("potassium_stream_stalls_total") >= 1
        assert len([chunk async for chunk in chunks]) == 4
