"""Calls of handlers by code that runs elsewhere: in other handlers, in threads, on other loops."""

import asyncio
import functools
import threading
from typing import Any

import anyio.from_thread
import anyio.to_thread
import pytest
from support.calls import outcome

from potassium import Batch, Jobs, Potassium, UsageError
from potassium.errors import HandlerError
from potassium.testing import client


async def test_an_async_handler_calls_a_plain_one(app: Potassium) -> None:
    """Their queues differ, so that a handler may put others together."""
    app.handler("/double")(lambda cache, item: item["n"] * 2)

    @app.handler("/sum", concurrency=2)
    async def total(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        calls = (app.call("/double", {"n": n}) for n in item["ns"])
        return sum(await asyncio.gather(*calls))

    async with client(app) as http:
        assert (await http.post("/sum", json={"ns": [1, 2, 3]})).json() == 12


async def test_a_worker_thread_calls_through_anyio(app: Potassium) -> None:
    """As a sync route does, or a sync function of Gradio."""
    app.handler("/")(lambda cache, item: [threading.current_thread().name, item["n"]])

    def sync() -> Any:
        call = functools.partial(app.call, "/", {"n": 1}, timeout=5)
        return [anyio.from_thread.run(app.call, "/", {"n": 0}), anyio.from_thread.run(call)]

    async with app.lifespan():
        results = await anyio.to_thread.run_sync(sync)
    assert results == [["potassium-gpu", 0], ["potassium-gpu", 1]]


async def test_a_call_from_another_event_loop_is_a_usage_error(app: Potassium) -> None:
    """Futures of one loop cannot be awaited on another; the message shows the way."""
    app.handler("/")(lambda cache, item: item)
    async with app.lifespan():
        with pytest.raises(UsageError, match=r"anyio.from_thread.run\(app.call"):
            await asyncio.to_thread(asyncio.run, app.call("/", {}))


def call_from_thread(app: Potassium, path: str) -> Any:
    return anyio.from_thread.run(app.call, path, {"n": 1})


def add_callers(app: Potassium) -> None:
    """Register handlers at ``/plain`` and ``/prepared``, and one of each kind that calls them."""
    app.handler("/plain")(lambda cache, item: item)
    app.handler("/prepared", prepare=lambda item: item)(lambda cache, item: item)

    @app.handler("/from_plain")
    def from_plain(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return call_from_thread(app, "/plain")

    @app.handler("/from_generator")
    def from_generator(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        yield 1
        yield call_from_thread(app, "/plain")

    @app.handler("/from_batch", batch=Batch())
    def from_batch(cache: dict[str, Any], items: list[dict[str, Any]]) -> Any:
        return [call_from_thread(app, "/plain")]

    @app.handler("/between")
    async def between(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return await app.call("/plain", item)

    @app.handler("/by_way_of_async")
    def by_way_of_async(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return call_from_thread(app, "/between")

    @app.handler("/by_way_of_async_from_batch", batch=Batch())
    def by_way_of_async_from_batch(cache: dict[str, Any], items: list[dict[str, Any]]) -> Any:
        return [call_from_thread(app, "/between")]

    @app.handler("/from_prepare", prepare=lambda item: call_from_thread(app, "/prepared"))
    def from_prepare(cache: dict[str, Any], item: dict[str, Any]) -> Any: ...

    @app.handler("/from_itself")
    async def from_itself(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return await app.call("/from_itself", item)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/from_plain", "/plain was called from /from_plain, which waits on the GPU thread"),
        ("/from_generator", "/plain was called from /from_generator"),
        ("/from_batch", "/plain was called from /from_batch"),
        ("/by_way_of_async", "/plain was called from /by_way_of_async"),
        ("/by_way_of_async_from_batch", "/plain was called from /by_way_of_async_from_batch"),
        ("/from_prepare", "/prepared was called from a prepare="),
        ("/from_itself", "/from_itself calls itself"),
    ],
)
async def test_a_call_that_would_wait_for_itself_is_a_usage_error(
    app: Potassium, path: str, why: str
) -> None:
    """Instead of a deadlock, the handler that makes it gets an error that names both."""
    add_callers(app)
    async with app.lifespan():
        failed = await outcome(app.call(path, {}))
        while isinstance(failed, HandlerError):
            failed = failed.__cause__
        assert isinstance(failed, UsageError)
        assert why in str(failed)


async def test_a_step_off_the_gpu_thread_calls_a_plain_handler(app: Potassium) -> None:
    """It needs no thread of the pool, so that nothing waits for itself."""
    add_callers(app)
    app.handler("/step", prepare=lambda item: call_from_thread(app, "/plain"))(
        lambda cache, item: item
    )
    async with app.lifespan():
        assert await app.call("/step", {}) == {"n": 1}


async def test_a_plain_handler_calls_an_async_one(app: Potassium) -> None:
    """The event loop is free while the GPU thread waits for it."""

    @app.handler("/loop")
    async def loop(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return item["n"] + 1

    app.handler("/plain")(lambda cache, item: call_from_thread(app, "/loop"))
    async with app.lifespan():
        assert await app.call("/plain", {}) == 2


async def test_an_async_handler_calls_itself_in_another_of_its_places(app: Potassium) -> None:
    """Only a call that finds all places taken by its own callers is refused."""

    @app.handler("/down", concurrency=3)
    async def down(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return item["n"] and 1 + await app.call("/down", {"n": item["n"] - 1})

    async with app.lifespan():
        assert await app.call("/down", {"n": 2}) == 2
        failed = await outcome(app.call("/down", {"n": 3}))
        assert "concurrency=4" in str(failed.__cause__)


async def test_init_cannot_call_a_handler(app: Potassium) -> None:
    """It would wait for its own end."""

    @app.init
    def init() -> dict[str, Any]:
        return {"warm": call_from_thread(app, "/")}

    app.handler("/")(lambda cache, item: item)
    with pytest.raises(UsageError, match="once init is done"):
        async with app.lifespan():
            pass


async def test_init_cannot_submit_a_job() -> None:
    """It would wait for its own end, too."""
    app = Potassium("test", jobs=Jobs(path=None))

    @app.init
    def init() -> dict[str, Any]:
        return {"job": anyio.from_thread.run(app.submit, "/", {})}

    app.handler("/")(lambda cache, item: item)
    with pytest.raises(UsageError, match="once init is done"):
        async with app.lifespan():
            pass
