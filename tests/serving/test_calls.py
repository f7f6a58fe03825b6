"""Calls of handlers by Python code in the same process."""

import asyncio
import gc
import logging
import time
import weakref
from contextvars import ContextVar
from typing import Any

import pydantic
import pytest
import torch
from starlette.exceptions import HTTPException
from support.calls import Gate, Own, held, outcome, until

from potassium import (
    Batch,
    InvalidInput,
    Jobs,
    Limits,
    Potassium,
    Request,
    Response,
    UsageError,
    current_request,
)
from potassium.errors import DeadlineExceeded, Draining, HandlerError, QueueFull, WorkerFailed
from potassium.serving.composition import parts_of
from potassium.testing import client

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


class Text(pydantic.BaseModel):
    text: str


async def test_the_result_is_the_handlers_own_object(app: Potassium) -> None:
    """Nothing is encoded, so that even what JSON cannot hold comes back."""
    own = Own()
    app.handler("/own")(lambda cache, item: own)
    app.handler("/steps", finish=lambda result: [result, own])(lambda cache, item: 1)
    app.handler("/batch", batch=Batch())(lambda cache, items: [own for _ in items])

    @app.handler("/loop")
    async def loop(cache: dict[str, Any], item: dict[str, Any]) -> Own:
        return own

    async with app.lifespan():
        for path in ("/own", "/batch", "/loop"):
            assert await app.call(path, {}) is own
        assert await app.call("/steps", {}) == [1, own]


async def test_tensors_come_back_in_host_memory(app: Potassium) -> None:
    """No tensor of the GPU leaves its thread, also not in a list, a dict, a chunk or a Response."""
    meta = torch.ones(2, requires_grad=True)  # detached, as it would be if it were moved
    app.handler("/one")(lambda cache, item: {"tensors": [meta]})
    app.handler("/response")(lambda cache, item: Response(json={"tensor": meta}))

    @app.handler("/stream")
    def stream(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        yield meta

    async with app.lifespan():
        tensors = (await app.call("/one", {}))["tensors"]
        tensors.append((await app.call("/response", {})).json["tensor"])
        tensors += await app.call("/stream", {})
    assert [tensor.requires_grad for tensor in tensors] == [False] * 3


async def test_an_item_is_validated_as_python_data(app: Potassium) -> None:
    """A dict is validated, and an instance of the model is taken as it is."""
    app.handler("/")(same_text)
    given = Text(text="a")
    async with app.lifespan():
        assert await app.call("/", {"text": "a"}) == given
        assert await app.call("/", given) is given
        refused = await outcome(app.call("/", {"text": 1}))
    assert isinstance(refused, InvalidInput)
    assert [fault["loc"] for fault in refused.errors] == [("text",)]
    assert "valid string" in str(refused.__cause__)  # for the traceback


def same_text(cache: dict[str, Any], item: Text) -> Text:
    return item


async def test_a_dict_is_passed_as_it_is(app: Potassium) -> None:
    """A handler that takes a dict gets the very dict, whatever is in it; nothing else."""
    seen = []
    app.handler("/")(lambda cache, item: seen.append(item))
    given = {"own": Own()}
    async with app.lifespan():
        await app.call("/", given)
        assert seen[0] is given
        assert isinstance(await outcome(app.call("/", [1])), InvalidInput)


async def test_bytes_are_passed_to_a_handler_that_takes_bytes(app: Potassium) -> None:
    """Anything that is not a buffer is refused."""

    @app.handler
    def handler(cache: dict[str, Any], body: bytes) -> bytes:
        return body

    async with app.lifespan():
        assert await app.call("/", b"raw") == b"raw"
        assert await app.call("/", memoryview(b"raw")) == b"raw"
        assert isinstance(await outcome(app.call("/", "text")), InvalidInput)


async def test_a_handler_of_requests_gets_one_with_the_item(app: Potassium) -> None:
    """The item is its JSON, or its body if it is bytes."""

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> Any:
        return request.body if request.headers["content-type"].endswith("stream") else request.json

    async with app.lifespan():
        assert await app.call("/", {"a": [1]}) == {"a": [1]}
        assert await app.call("/", Text(text="a")) == {"text": "a"}
        assert await app.call("/", b"raw") == b"raw"
        refused = await outcome(app.call("/", {"a": Own()}))
    assert isinstance(refused, InvalidInput)
    assert refused.detail.startswith("The item cannot be encoded as JSON at a:")


async def test_the_item_is_bound_to_the_step_that_prepares_it(app: Potassium) -> None:
    """With ``prepare=``, its annotation counts, and its result is the handler's input."""

    def prepare(item: Text) -> int:
        return len(item.text)

    app.handler("/", prepare=prepare)(lambda cache, length: length + 1)
    async with app.lifespan():
        assert await app.call("/", {"text": "abc"}) == 4


async def test_calls_are_batched_with_those_over_http(app: Potassium) -> None:
    """A batch takes the calls that wait, wherever they come from."""
    gate, start = held(app)
    batches: list[list[Any]] = []

    @app.handler("/batch", batch=Batch(max_size=3, max_delay=5))
    def batch(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
        batches.append(sorted(item["n"] for item in items))
        return [item["n"] for item in items]

    async with client(app) as http:
        holding = start("/gate", {})
        await gate.has_begun()
        mine = [start("/batch", {"n": n}) for n in (1, 2)]
        other = asyncio.create_task(http.post("/batch", json={"n": 3}))
        services = app._runtime.services
        assert services is not None
        await until(lambda: services.engine.capacity.waiting == 3)
        gate.go.set()
        assert [await one for one in mine] == [1, 2]
        assert (await other).json() == 3
        await holding
    assert batches == [[1, 2, 3]]


async def test_a_call_is_refused_as_one_over_http() -> None:
    """When the queue is full, the call gets the error that a client would be answered with."""
    app = Potassium("test", limits=Limits(queue_size=1))
    gate, start = held(app)
    async with client(app) as http:
        calls = [start("/gate", {}) for _ in range(4)]
        await gate.has_begun()
        refused = await outcome(app.call("/gate", {}))
        assert isinstance(refused, QueueFull)
        assert refused.retry_after
        assert (await http.post("/gate", json={})).json()["code"] == refused.code
        gate.go.set()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_a_call_is_refused_while_the_app_stops(app: Potassium) -> None:
    """A draining app admits no calls of its own process either."""
    app.handler("/")(lambda cache, item: item)
    async with app.lifespan():
        app._runtime.drain()
        assert isinstance(await outcome(app.call("/", {})), Draining)
    assert isinstance(await outcome(app.call("/", {})), Draining)


async def test_an_admitted_call_makes_its_own_calls_while_the_app_stops(app: Potassium) -> None:
    """What was accepted finishes within the grace period, with all that it needs for that."""
    begun, go = asyncio.Event(), asyncio.Event()
    app.handler("/part")(lambda cache, item: "part")

    @app.handler("/whole")
    async def whole(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        begun.set()
        await go.wait()
        return [await app.call("/part", {}), [one async for one in app.stream("/part", {})]]

    async with app.lifespan():
        admitted = asyncio.create_task(app.call("/whole", {}))
        await begun.wait()
        app._runtime.drain()
        assert isinstance(await outcome(app.call("/part", {})), Draining)
        go.set()
        assert await admitted == ["part", ["part"]]


async def test_a_call_ends_at_its_deadline(app: Potassium) -> None:
    """``timeout=`` counts from the call on, and the handler's own holds where none is given."""
    gate, start = held(app)
    app.handler("/slow", timeout=0.02)(lambda cache, item: item)
    async with app.lifespan():
        holding = start("/gate", {})
        await gate.has_begun()
        for late in (start("/gate", {}, timeout=0.02), start("/slow", {})):
            assert isinstance(await outcome(late), DeadlineExceeded)
        lasting = start("/slow", {}, timeout=10)
        await asyncio.sleep(0.03)
        assert not lasting.done()
        gate.go.set()
        assert await lasting == {}
        await holding


async def test_cancelling_a_call_takes_it_out_of_the_queue(app: Potassium) -> None:
    """A call that waits never runs once its caller is cancelled."""
    gate, start = held(app)
    ran = []
    app.handler("/")(lambda cache, item: ran.append(item))
    async with app.lifespan():
        holding = start("/gate", {})
        await gate.has_begun()
        waiting = start("/", {})
        await asyncio.sleep(0)
        waiting.cancel()
        assert isinstance(await outcome(waiting), asyncio.CancelledError)
        gate.go.set()
        await holding
    assert ran == []


async def test_a_running_handler_sees_that_its_call_was_cancelled(app: Potassium) -> None:
    """``request.cancelled`` is true, as if a client had disconnected."""
    gate, start = held(app)
    async with app.lifespan():
        running = start("/gate", {})
        await gate.has_begun()
        running.cancel()
        assert isinstance(await outcome(running), asyncio.CancelledError)
        gate.go.set()
        await until(lambda: gate.saw)
    assert gate.saw == [True]


async def test_an_error_of_the_handler_is_the_cause(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets a HandlerError, and the log the traceback, as for a call over HTTP."""

    @app.handler
    def handler(cache: dict[str, Any], item: dict[str, Any]) -> None:
        raise ZeroDivisionError

    async with app.lifespan():
        failed = await outcome(app.call("/", {}))
    assert isinstance(failed, HandlerError)
    assert isinstance(failed.__cause__, ZeroDivisionError)
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert record.handler == "/"  # type: ignore[attr-defined]


async def test_an_error_of_a_validator_is_logged(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in the app's own validator is not taken for invalid input."""

    class Broken(pydantic.BaseModel):
        text: str

        @pydantic.field_validator("text")
        @classmethod
        def check(cls, text: str) -> str:
            raise ZeroDivisionError

    def handler(cache: dict[str, Any], item: Any) -> None: ...

    handler.__annotations__["item"] = Broken
    app.handler(handler)
    async with app.lifespan():
        failed = await outcome(app.call("/", {"text": "a"}))
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert "/ failed: internal_error" in caplog.text


async def test_an_http_exception_comes_as_it_was_raised(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """In a route of a parent, it becomes that answer; it is no failure of the app."""

    @app.handler
    def handler(cache: dict[str, Any], item: dict[str, Any]) -> None:
        raise HTTPException(409, "taken")

    async with app.lifespan():
        raised = await outcome(app.call("/", {}))
    assert isinstance(raised, HTTPException)
    assert (raised.status_code, raised.detail) == (409, "taken")
    assert caplog.text == ""


async def test_a_response_comes_as_the_handler_made_it(app: Potassium) -> None:
    """A handler's Response is a result like any other."""
    app.handler("/")(lambda cache, item: Response(status=201, json={"id": 7}))
    async with app.lifespan():
        response = await app.call("/", {})
    assert (response.status, response.json) == (201, {"id": 7})


async def test_a_call_of_high_priority_overtakes() -> None:
    """With ``Limits(priorities=True)``, ``priority=`` decides, as ``X-Priority`` does."""
    app = Potassium("test", limits=Limits(priorities=True))
    gate, start = held(app)
    order = []
    app.handler("/")(lambda cache, item: order.append(item["n"]))
    async with app.lifespan():
        calls = [start("/gate", {}), start("/gate", {})]  # the second is handed over already
        await gate.has_begun()
        calls += [start("/", {"n": n}, priority=p) for n, p in enumerate(("low", "normal", "high"))]
        await asyncio.sleep(0)
        gate.go.set()
        await asyncio.gather(*calls)
    assert order == [2, 1, 0]


@pytest.mark.parametrize(
    ("path", "options", "why"),
    [
        ("/nowhere", {}, "'/nowhere'; those of this app are: /a, /b"),
        ("/a", {"timeout": -1}, "timeout"),
        ("/a", {"priority": "urgent"}, "priority='urgent': write"),
        ("/b", {}, r"runs in the background: await app.submit\('/b', item\)"),
    ],
)
async def test_a_mistake_is_a_usage_error(path: str, options: dict[str, Any], why: str) -> None:
    """The message says what is wrong and what to write instead."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.handler("/a")(lambda cache, item: item)
    app.background("/b")(lambda cache, item: item)
    async with app.lifespan():
        with pytest.raises(UsageError, match=why):
            await app.call(path, {}, **options)


async def test_a_path_is_normalized_as_in_the_decorator(app: Potassium) -> None:
    """``"embed"``, ``"/embed"`` and ``"/embed/"`` are the same handler."""
    app.handler("/embed")(lambda cache, item: "embedded")
    app.handler("/")(lambda cache, item: "root")
    async with app.lifespan():
        assert {await app.call(path, {}) for path in ("embed", "/embed", "/embed/")} == {"embedded"}
        assert {await app.call(path, {}) for path in ("", "/")} == {"root"}


async def test_the_handler_sees_the_callers_context_variables(app: Potassium) -> None:
    """As a request's handler sees what middleware has set."""
    app.handler("/plain")(lambda cache, item: TENANT.get())

    @app.handler("/loop")
    async def loop(cache: dict[str, Any], item: dict[str, Any]) -> str:
        return TENANT.get()

    @app.handler("/stream")
    def stream(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        yield TENANT.get()

    async with app.lifespan():
        TENANT.set("me")
        assert await app.call("/plain", {}) == "me"
        assert await app.call("/loop", {}) == "me"
        assert await app.call("/stream", {}) == ["me"]


async def test_a_call_has_the_id_of_the_request_that_makes_it(app: Potassium) -> None:
    """Log lines of the whole chain have the id that the client knows; other calls get new ones."""

    @app.handler("/inner")
    def inner(cache: dict[str, Any], item: dict[str, Any]) -> str:
        return current_request().id

    @app.handler("/outer")
    async def outer(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return await app.call("/inner", item)

    async with client(app) as http:
        response = await http.post("/outer", json={}, headers={"X-Request-Id": "mine"})
        assert response.json() == "mine"
        assert len({await app.call("/inner", {}) for _ in range(3)}) == 3


async def test_the_first_call_starts_the_app(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a lifespan, the first calls start the app once, and the log says how to do better."""
    inits = []

    @app.init
    def init() -> dict[str, Any]:
        inits.append(1)
        return {"loaded": True}

    app.handler("/")(lambda cache, item: cache["loaded"])
    assert await asyncio.gather(*(app.call("/", {}) for _ in range(10))) == [True] * 10
    assert inits == [1]
    assert caplog.text.count("lifespan=app.lifespan") == 1
    lazy = app._runtime._lazy
    assert lazy is not None
    lazy.cancel()
    await asyncio.wait({lazy})


async def test_a_call_fails_if_the_model_cannot_be_loaded(app: Potassium) -> None:
    """As for a request, the error says so."""

    @app.init
    def init() -> None:
        raise ZeroDivisionError

    app.handler("/")(lambda cache, item: item)
    assert isinstance(await outcome(app.call("/", {})), WorkerFailed)


async def test_a_call_needs_no_api_key() -> None:
    """Keys are for clients."""
    app = Potassium("test", api_keys=["secret"])
    app.handler("/")(lambda cache, item: item)
    async with app.lifespan():
        assert await app.call("/", {}) == {}


async def test_a_result_is_posted_to_its_webhook(
    app: Potassium, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it is for a call over HTTP; a result that is not JSON is not, and the log says so."""
    posted = []

    @app.result_webhook(url="http://127.0.0.1:9/")
    @app.handler
    def handler(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return item or Own()

    async with app.lifespan():
        services = app._runtime.services
        assert services is not None
        monkeypatch.setattr(services.webhooks.outbox, "post", lambda *given: posted.append(given))
        assert await app.call("/", {"a": 1}) == {"a": 1}
        assert isinstance(await app.call("/", {}), Own)
    assert [(url, body) for url, body, _ in posted] == [("http://127.0.0.1:9/", b'{"a":1}')]
    assert "nothing is posted" in caplog.text


async def test_a_call_of_another_app_leaves_the_callers_webhooks_alone() -> None:
    """After it, ``send_webhook`` still posts by way of the app whose handler runs."""
    from potassium.webhooks.outbox import OUTBOX  # noqa: PLC0415

    ours, theirs = Potassium("ours"), Potassium("theirs")
    theirs.handler("/")(lambda cache, item: OUTBOX.get())

    @ours.handler
    async def handler(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        before = OUTBOX.get()
        inner = await theirs.call("/", item)
        return before is OUTBOX.get(), before is inner

    async with ours.lifespan(), theirs.lifespan():
        assert await ours.call("/", {}) == (True, False)


async def test_nothing_of_a_call_outlives_it(app: Potassium) -> None:
    """Item, result and error are freed without the garbage collector."""
    app.handler("/")(lambda cache, item: [Own(), item["own"]])

    @app.handler("/fails")
    def fails(cache: dict[str, Any], item: dict[str, Any]) -> None:
        raise ZeroDivisionError

    @app.handler("/waits")
    async def waits(cache: dict[str, Any], item: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async with app.lifespan():
        gc.collect()
        gc.disable()
        try:
            item = {"own": Own()}
            result = await app.call("/", item)
            kept = [weakref.ref(one) for one in result]
            del item, result
            await until(lambda: not any(ref() for ref in kept))
            item = {"own": Own()}
            kept = [weakref.ref(item["own"])]
            with pytest.raises(HandlerError):
                await app.call("/fails", item)
            del item
            await until(lambda: not any(ref() for ref in kept))
            item = {"own": Own()}
            kept = [weakref.ref(item["own"])]
            with pytest.raises(DeadlineExceeded):
                await app.call("/waits", item, timeout=0.01)
            del item
            await until(lambda: not any(ref() for ref in kept))
        finally:
            gc.enable()


async def test_a_job_is_submitted() -> None:
    """The document is the one that a client would get, and the job runs."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.background("/train")(train)
    app.handler("/embed")(lambda cache, item: item)
    async with client(app) as http:
        for path, item in (("/train", Text(text="a")), ("/embed", {"n": 1})):
            document = await app.submit(path, item)
            assert (document["handler"], document["status"]) == (path, "queued")
            shown = await http.get(f"/jobs/{document['id']}", headers={"Prefer": "wait=5"})
            assert shown.json()["output"] == (item if path == "/embed" else "a")


def train(cache: dict[str, Any], item: Text) -> str:
    return item.text


async def test_a_job_is_submitted_once_for_each_idempotency_key() -> None:
    """The second time, the document of the same job comes back."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.background("/train")(train)
    async with app.lifespan():
        ids = {(await app.submit("/train", {"text": "a"}, idempotency_key="k"))["id"] for _ in "ab"}
        assert len(ids) == 1


async def test_a_job_is_refused_as_one_over_http() -> None:
    """What the handler does not take is not stored, and nothing is while the app stops."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.background("/train")(train)
    async with app.lifespan():
        assert isinstance(await outcome(app.submit("/train", {"text": 1})), InvalidInput)
        app._runtime.drain()
        assert isinstance(await outcome(app.submit("/train", {"text": "a"})), Draining)


async def test_an_app_without_jobs_takes_none(app: Potassium) -> None:
    """The message says how to have some."""
    app.handler("/")(lambda cache, item: item)
    async with app.lifespan():
        with pytest.raises(UsageError, match=r"jobs=Jobs\(\)"):
            await app.submit("/", {})


async def test_the_timeout_of_a_call_behind_others_counts_from_its_beginning(
    app: Potassium,
) -> None:
    gate = Gate(app)
    app.handler("/quick", timeout=0.5)(lambda cache, item: "done")

    @app.handler("/slow", timeout=0.05)
    def slow(cache: dict[str, Any], request: Request) -> None:
        for _ in range(5000):
            if request.cancelled:
                break
            time.sleep(0.001)

    async with app.lifespan():
        before = asyncio.create_task(app.call("/gate", {}))
        await gate.has_begun()
        behind = parts_of(app).calls.behind_others
        quick = asyncio.create_task(anext(behind("/quick", {})))
        await asyncio.sleep(0.6)
        gate.go.set()
        await before
        assert await quick == "done"
        late = await outcome(anext(behind("/slow", {})))
        assert isinstance(late, DeadlineExceeded)
