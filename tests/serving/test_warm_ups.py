"""``warmup=``: handlers are run once before the server is ready."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from support.metrics import scrape

from potassium import Batch, Jobs, Potassium, Request, UsageError
from potassium.engine import Job, Operation
from potassium.errors import UnserializableOutput
from potassium.serving.warm_ups import WarmUps
from potassium.testing import client


class Item(BaseModel):
    n: int


async def started(app: Potassium) -> dict[str, Any]:
    """Start and stop ``app``; return what its status page shows as soon as it is ready."""
    async with client(app) as http:
        document: dict[str, Any] = (await http.get("/_k/status")).json()
        return document


async def test_a_handler_is_run_with_its_item_after_init_and_before_readiness(
    app: Potassium,
) -> None:
    """On the GPU thread, with the cache, as for a client that has sent the item as JSON."""
    seen: list[Any] = []

    @app.init
    def init() -> dict[str, Any]:
        return {"model": "loaded"}

    @app.handler("/embed", warmup={"n": 3})
    def embed(cache: dict[str, Any], item: Item) -> dict[str, Any]:
        state = app._runtime.lifecycle.state.value
        seen.append((threading.current_thread().name, cache["model"], item, state))
        return {}

    await started(app)
    assert seen == [("potassium-gpu", "loaded", Item(n=3), "starting")]


async def test_a_list_is_several_items_and_a_function_may_return_them(app: Potassium) -> None:
    """An item that is a list itself stands in one."""
    seen: list[Any] = []

    @app.handler("/each", warmup=[{"n": 1}, {"n": 2}])
    def each(cache: dict[str, Any], item: Item) -> int:
        seen.append(item.n)
        return item.n

    @app.handler("/made", warmup=lambda: {"n": 3})
    def made(cache: dict[str, Any], item: Item) -> int:
        seen.append(item.n)
        return item.n

    @app.handler("/list", warmup=lambda: [[4, 5]])
    def many(cache: dict[str, Any], numbers: list[int]) -> int:
        seen.append(numbers)
        return 0

    await started(app)
    assert seen == [1, 2, 3, [4, 5]]


async def test_a_function_that_makes_items_runs_after_init_off_the_event_loop(
    app: Potassium,
) -> None:
    """It may take long, and may use what ``init`` has loaded."""
    seen: list[Any] = []
    app.init(lambda: seen.append("init"))

    def items() -> dict[str, int]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        seen.append("items")
        return {"n": 1}

    @app.handler(warmup=items)
    def handler(cache: dict[str, Any], item: Item) -> None:
        seen.append("run")

    await started(app)
    assert seen == ["init", "items", "run"]


async def test_bytes_and_what_is_no_json_are_bound_too(app: Potassium) -> None:
    """As a raw body, and as ``app.call`` takes it."""
    seen: list[Any] = []
    thing = object()

    class Thing(BaseModel, arbitrary_types_allowed=True):
        value: Any

    @app.handler("/raw", warmup=b"\x00\x01")
    def raw(cache: dict[str, Any], body: bytes) -> None:
        seen.append(body)

    @app.handler("/thing", warmup=Thing(value=thing))
    def handler(cache: dict[str, Any], item: Thing) -> None:
        seen.append(item.value)

    await started(app)
    assert seen == [b"\x00\x01", thing]


async def test_the_steps_around_the_model_run_too(app: Potassium) -> None:
    """``prepare=`` and ``finish=``, on the threads of the pool."""
    seen: list[tuple[str, str]] = []

    def note(step: str) -> None:
        seen.append((step, threading.current_thread().name))

    def prepare(item: Item) -> int:
        note("prepare")
        return item.n

    def finish(result: int) -> int:
        note("finish")
        return result

    @app.handler(prepare=prepare, finish=finish, warmup={"n": 1})
    def handler(cache: dict[str, Any], n: int) -> int:
        note("run")
        return n

    await started(app)
    pool = "potassium-pool"
    assert seen == [("prepare", pool), ("run", "potassium-gpu"), ("finish", pool)]


async def test_a_batched_handler_is_run_with_one_item_and_with_a_full_batch(
    app: Potassium,
) -> None:
    """A model may compile itself for one, and anew for several."""
    seen: list[list[int]] = []

    @app.handler(
        batch=Batch(max_size=5), prepare=lambda item: item["n"], warmup=[{"n": 1}, {"n": 2}]
    )
    def handler(cache: dict[str, Any], items: list[int]) -> list[int]:
        seen.append(items)
        return items

    await started(app)
    assert seen == [[1], [2], [1, 2, 1, 2, 1]]


async def test_a_full_batch_is_one_of_full_cost_if_that_is_less(app: Potassium) -> None:
    """Padded to the costliest, as the calls of clients are."""
    seen: list[list[int]] = []
    batch = Batch(max_size=64, cost=lambda item: item, max_cost=30)

    @app.handler(batch=batch, prepare=lambda item: item["n"], warmup=[{"n": 7}, {"n": 9}])
    def handler(cache: dict[str, Any], items: list[int]) -> list[int]:
        seen.append(items)
        return items

    await started(app)
    assert seen == [[7], [9], [7, 9, 7]]


async def test_streams_are_read_to_their_end(app: Potassium) -> None:
    """Those of generators, those that are pushed and those of async handlers, however long."""
    ends: list[str] = []

    @app.handler("/generator", warmup={"n": 3000})
    def generator(cache: dict[str, Any], item: Item) -> Iterator[str]:
        for _ in range(item.n):
            yield "x" * 1000  # in all, more than the buffer of a stream
        ends.append("generator")

    @app.handler("/pushed", warmup={})
    def pushed(cache: dict[str, Any], request: Request) -> None:
        for _ in range(3000):
            request.send("x" * 1000)
        ends.append("pushed")

    @app.handler("/async", warmup={})
    async def on_loop(cache: dict[str, Any], json_in: dict[str, Any]) -> AsyncIterator[str]:
        for _ in range(3000):
            yield "x" * 1000
        ends.append("async")

    assert (await started(app))["open_streams"] == 0
    assert ends == ["generator", "pushed", "async"]


async def test_a_response_that_sends_itself_is_sent_to_its_end(app: Potassium) -> None:
    """One of Starlette's: what it runs is part of the call."""
    ends: list[str] = []

    @app.handler(warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield "one"
            yield "two"
            ends.append("over")

        return StreamingResponse(body())

    await started(app)
    assert ends == ["over"]


async def test_background_handlers_are_warmed_up_without_a_job() -> None:
    """Nothing is stored, and nothing is posted."""
    app = Potassium("background", jobs=Jobs(path=None))
    seen: list[Any] = []

    @app.background("/train", warmup={"n": 1})
    @app.result_webhook("http://127.0.0.1:9/never")
    def train(cache: dict[str, Any], item: Item) -> dict[str, Any]:
        seen.append(item.n)
        return {}

    document = await started(app)
    assert seen == [1]
    assert not any(document["jobs"].values())


async def test_a_warm_up_is_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """Not for counts, metrics, service times, estimates, first calls or the access log."""
    caplog.set_level(logging.INFO)
    app = Potassium("measured", metrics=True)
    app._parts.observation.log(None, access=True)

    @app.handler("/slow", warmup={"n": 1})
    def slow(cache: dict[str, Any], item: Item) -> dict[str, Any]:
        return {}

    @app.handler("/batched", batch=Batch(max_size=3), warmup={"n": 1})
    def batched(cache: dict[str, Any], items: list[Item]) -> list[dict[str, Any]]:
        return [{} for _ in items]

    @app.handler("/stream", warmup={"n": 1})
    def stream(cache: dict[str, Any], item: Item) -> Iterator[str]:
        yield "x"

    @app.handler("/async", warmup={"n": 1})
    async def on_loop(cache: dict[str, Any], item: Item) -> dict[str, Any]:
        return {}

    async with client(app) as http:
        document = (await http.get("/_k/status")).json()
        page = await scrape(http)
        assert not any(document["counts"].values())
        assert document["service_time"] == document["estimated_wait"] == {}
        assert document["startup"]["first_calls"] == {}
        assert document["startup"]["warmups"].keys() == {"/slow", "/batched", "/stream", "/async"}
        for path in document["startup"]["warmups"]:
            for name in ("queue", "run"):
                family = f"potassium_{name}_duration_seconds_count"
                assert page.value(family, handler=path) == 0, (path, name)
        assert page.value("potassium_batch_size_count", handler="/batched") == 0
        assert not any(page.values("potassium_stream_first_chunk_seconds_count").values())
        await http.post("/slow", json={"n": 1})
        page = await scrape(http)
        assert page.value("potassium_run_duration_seconds_count", handler="/slow") == 1
    assert [one for one in caplog.messages if "/slow" in one and "200" in one] != []
    assert [one for one in caplog.messages if "/stream" in one] == []


async def test_the_request_of_a_warm_up_says_that_it_is_one(app: Potassium) -> None:
    """A handler that must not write anything down for it can tell."""
    ids: list[str] = []

    @app.handler(warmup={})
    def handler(cache: dict[str, Any], request: Request) -> None:
        ids.append(request.id)

    async with client(app) as http:
        await http.post("/", json={}, headers={"X-Request-Id": "a-client"})
    assert ids == ["warmup", "a-client"]


async def test_a_warm_up_has_no_deadline(app: Potassium) -> None:
    """The first run may take as long as it takes: it may compile."""

    @app.handler(timeout=0.001, warmup={})
    def handler(cache: dict[str, Any], request: Request) -> None:
        assert request.deadline is None

    await started(app)


FAILING = [
    pytest.param({"prepare": lambda _: 1 / 0}, id="prepare"),
    pytest.param({"finish": lambda _: 1 / 0}, id="finish"),
    pytest.param({"batch": Batch(max_size=2)}, id="batch"),
    pytest.param({}, id="handler"),
]


@pytest.mark.parametrize("options", FAILING)
async def test_a_warm_up_that_fails_fails_the_start(
    app: Potassium, options: dict[str, Any]
) -> None:
    """The error is the handler's own, and says which handler it is; nothing runs any more."""
    own = not options or "batch" in options

    item = {"n": 1}

    @app.handler(
        "/broken", warmup=item if {"batch", "prepare"} & {*options} else [[item]], **options
    )
    def broken(cache: dict[str, Any], items: list[dict[str, Any]]) -> Any:
        return 1 / 0 if own else items

    with pytest.raises(ZeroDivisionError) as raised:
        async with client(app):
            pytest.fail("it must not be served")
    (note,) = raised.value.__notes__
    assert "POST /broken" in note
    assert "warmup=" in note
    assert app._runtime.has_failed


async def failed(app: Potassium, error: type[Exception]) -> None:
    """Check that ``app`` does not start, for an error of its only handler's warm-up."""
    with pytest.raises(error) as raised:
        await started(app)
    assert "POST /" in raised.value.__notes__[0]


async def test_a_stream_that_fails_in_the_middle_fails_the_start(app: Potassium) -> None:
    """With the handler's own error."""

    @app.handler(warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        yield "one"
        raise KeyError("two")

    await failed(app, KeyError)


async def test_an_async_handler_that_fails_fails_the_start(app: Potassium) -> None:
    """With its own error, too."""

    @app.handler(warmup={})
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise KeyError("two")

    await failed(app, KeyError)


async def test_a_result_that_cannot_be_encoded_fails_the_start(app: Potassium) -> None:
    """It is encoded as for a client."""

    @app.handler(warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return {"x": object()}

    await failed(app, UnserializableOutput)


async def test_an_item_that_does_not_bind_fails_before_the_model_is_loaded(
    app: Potassium,
) -> None:
    """It takes no time to see, and loading may take minutes."""
    loaded: list[int] = []
    app.init(lambda: loaded.append(1))

    @app.handler("/typed", warmup={"n": "many"})
    def handler(cache: dict[str, Any], item: Item) -> None: ...

    with pytest.raises(UsageError, match=r"POST /typed: its warmup= is not a valid input: n: "):
        await started(app)
    assert loaded == []


async def test_a_start_that_is_called_off_ends_the_warm_up(app: Potassium) -> None:
    """A stream is closed at its next step, and the threads end."""
    began, closed = threading.Event(), threading.Event()

    @app.handler(warmup={})
    def endless(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        try:
            while True:
                began.set()
                yield "x"
        finally:
            closed.set()

    starting = asyncio.create_task(started(app))
    await asyncio.to_thread(began.wait)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert closed.is_set()


async def test_a_handler_that_calls_another_cannot_be_warmed_up(app: Potassium) -> None:
    """It would wait for the end of its own warm-up; the message says so."""

    @app.handler("/model")
    def model(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    @app.handler("/both", warmup={})
    async def both(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        await app.call("/model", {})

    with pytest.raises(UsageError, match="/both calls another handler"):
        await started(app)


async def test_it_is_run_again_at_a_second_start(app: Potassium) -> None:
    """And nothing of the first one is left in the ledger."""
    runs: list[int] = []

    @app.handler("/a", warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        runs.append(1)

    await started(app)
    ledger = (await started(app))["startup"]
    assert len(runs) == 2
    assert list(ledger["phases"]) == ["init", "warmup", "other"]
    assert ledger["warmups"].keys() == {"/a"}


async def test_the_log_says_what_the_warm_up_took(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside the other phases of the start."""
    caplog.set_level(logging.INFO, logger="potassium")
    gate = threading.Event()

    @app.handler("/a", warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        gate.wait(0.06)  # one that is shorter is not worth a word

    await started(app)
    assert any("warmup 0.1 s (/a 0.1 s)" in line for line in caplog.messages)


async def test_without_warm_ups_there_is_no_such_phase(app: Potassium) -> None:
    """Handlers that have none are not run."""
    runs: list[str] = []

    @app.handler("/warm", warmup={})
    def warm(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        runs.append("warm")

    @app.handler("/other")
    def other(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        runs.append("other")

    ledger = (await started(app))["startup"]
    assert (runs, [*ledger["warmups"]]) == (["warm"], ["/warm"])
    plain = Potassium("plain")
    plain.handler("/other")(other)
    ledger = (await started(plain))["startup"]
    assert list(ledger["phases"]) == ["init", "other"]
    assert (runs, ledger["warmups"]) == (["warm"], {})


async def test_what_is_being_warmed_up_is_known_meanwhile(app: Potassium) -> None:
    """From the making of its items until it is over, however it ends."""
    seen: list[str | None] = []

    def items() -> dict[str, Any]:
        seen.append(warm_ups.current)
        return {}

    @app.handler("/good", warmup=items)
    def good(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    @app.handler("/bad", warmup={})
    def bad(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    async def rehearse(operation: Operation, calls: Sequence[Any]) -> Sequence[Job]:
        seen.append(warm_ups.current)
        if operation.name == "/bad":
            raise KeyError("no such layer")
        outcome = asyncio.get_running_loop().create_future()
        outcome.set_result(None)
        return [Job(operation, argument, outcome) for argument, _ in calls]

    warm_ups = WarmUps(app._parts.handlers.values())
    assert warm_ups.current is None
    failure = await warm_ups.run(rehearse)
    assert seen == ["/good", "/good", "/bad"]
    assert warm_ups.current is None
    assert failure is not None
    assert type(failure.error) is KeyError


async def test_a_warm_up_that_is_called_off_is_no_failure(app: Potassium) -> None:
    """Whoever has called it off gets to know."""

    @app.handler("/", warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    began = asyncio.Event()

    async def rehearse(operation: Operation, calls: Sequence[Any]) -> Sequence[Job]:
        began.set()
        await asyncio.Event().wait()
        return []

    running = asyncio.create_task(WarmUps(app._parts.handlers.values()).run(rehearse))
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("on_loop", [False, True], ids=["on the GPU thread", "on the loop"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_an_error_of_any_class_fails_the_start(
    app: Potassium, error: type[BaseException], *, on_loop: bool
) -> None:
    """A library that ends the process, or what was cancelled inside of the handler."""

    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise error("inside")

    async def async_handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise error("inside")

    app.handler("/broken", warmup={})(async_handler if on_loop else handler)
    with pytest.raises(BaseException, match="inside") as raised:
        await started(app)
    assert "POST /broken" in raised.value.__notes__[0]
    assert app._runtime.has_failed


async def test_the_advice_for_a_slow_first_call_knows_the_warm_up(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """What the handler has been run with was not like what clients send."""
    caplog.set_level(logging.INFO, logger="potassium")

    @app.handler("/a", warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    async with client(app):
        time_of = app._parts.handlers["/a"].operation.service_time
        for seconds in (1.0, *[0.01] * 10):
            time_of.add(seconds)
    (line,) = [one for one in caplog.messages if "first caller" in one]
    assert line.endswith("give its warmup= an input like this one")


@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        ([], "at least one"),
        (lambda item: item, "without arguments"),
    ],
)
def test_what_cannot_be_a_warm_up_is_refused_at_once(
    app: Potassium, warmup: Any, message: str
) -> None:
    """At the decorator."""
    with pytest.raises(UsageError, match=message):
        app.handler("/a", warmup=warmup)


def test_an_async_function_makes_no_items(app: Potassium) -> None:
    """Nobody would await it."""

    async def items() -> dict[str, Any]:
        return {}

    with pytest.raises(UsageError, match="write def, not async def"):
        app.handler("/a", warmup=items)


async def test_a_start_by_a_request_warms_up_too(app: Potassium) -> None:
    """The first request waits for it, as for ``init``."""
    runs: list[int] = []

    @app.handler("/", warmup={})
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> int:
        runs.append(1)
        return len(runs)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://potassium"
    ) as http:
        assert (await http.post("/", json={})).json() == 2
    lazy = app._runtime._lazy
    assert lazy is not None
    lazy.cancel()
    await asyncio.wait({lazy})
