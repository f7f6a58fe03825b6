"""From an HTTP request to a handler's answer."""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pydantic
import pytest
from starlette.exceptions import HTTPException

from potassium import Limits, Potassium, Request
from potassium.errors import InvalidInput
from potassium.testing import client

Send = Callable[[dict[str, Any]], Awaitable[None]]


def scope(path: str = "/", **more: Any) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": path, "headers": headers, **more}


ROOT = scope()


async def call(
    app: Potassium, *messages: dict[str, Any], scope: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Call the app over bare ASGI and return what it sent."""
    coming, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        if not coming:
            await asyncio.Event().wait()  # the client stays connected
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(dict(scope or ROOT), receive, send)
    return sent


def chunk(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.fixture
def lengths() -> Potassium:
    """Return an app that answers with the length of the body."""
    app = Potassium("test", limits=Limits(body_size=10))

    @app.handler
    def handler(cache: dict[str, Any], body: bytes) -> int:
        return len(body)

    return app


@pytest.mark.parametrize(
    "sizes", [[3], [3, 4], [0, 10], [10, 0], [1] * 10], ids=lambda sizes: "+".join(map(str, sizes))
)
async def test_a_body_in_pieces_is_put_together(lengths: Potassium, sizes: list[int]) -> None:
    """However the body arrives, the handler gets it whole."""
    pieces = [chunk(b"a" * size, more=True) for size in sizes]
    pieces[-1]["more_body"] = False
    async with lengths.lifespan():
        start, body = await call(lengths, *pieces)
    assert (start["status"], body["body"]) == (200, str(sum(sizes)).encode())


@pytest.mark.parametrize("sizes", [[11], [6, 5], [10, 1]])
async def test_a_body_that_grows_over_the_limit_is_refused(
    lengths: Potassium, sizes: list[int]
) -> None:
    """Without a Content-Length, bytes are counted as they arrive; no more than needed are read."""
    pieces = [chunk(b"a" * size, more=True) for size in sizes]
    async with lengths.lifespan():
        start, _ = await call(lengths, *pieces)
    assert start["status"] == 413


async def test_a_content_length_over_the_limit_is_refused_unread(lengths: Potassium) -> None:
    """With a Content-Length over the limit, nothing is read at all."""
    big = scope()
    big["headers"] = [(b"content-length", b"11")]
    async with lengths.lifespan():
        start, _ = await call(lengths, scope=big)
    assert start["status"] == 413


@pytest.mark.parametrize("received", [[], [chunk(b"a", more=True)]])
async def test_a_client_that_leaves_in_mid_body_is_let_go(
    lengths: Potassium, received: list[dict[str, Any]]
) -> None:
    """If a client leaves before its body is complete, nothing is run and nothing is sent."""
    async with lengths.lifespan():
        assert await call(lengths, *received, {"type": "http.disconnect"}) == []


async def test_mounted_below_a_path(lengths: Potassium) -> None:
    """The path below the mount counts, whether or not the server's path includes root_path."""
    mounted = scope("/model/", root_path="/model")
    async with lengths.lifespan():
        start, _ = await call(lengths, chunk(b"a"), scope=mounted)
        assert start["status"] == 200
        other, _ = await call(lengths, chunk(b"a"), scope=scope("/", root_path="/model"))
        assert other["status"] == 200
        missing, _ = await call(lengths, scope=scope("/modelled", root_path="/model"))
        assert missing["status"] == 404


async def test_a_cancelled_request_takes_its_job_out_of_the_queue(app: Potassium) -> None:
    """A request that the server cancels while it waits is never run."""
    begun, go, ran = threading.Event(), threading.Event(), []

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        ran.append(json_in["n"])
        begun.set()
        assert go.wait(10)

    async with app.lifespan():
        calls = [asyncio.create_task(call(app, chunk(b'{"n": %d}' % n))) for n in range(3)]
        assert await asyncio.to_thread(begun.wait, 10)
        await asyncio.sleep(0.01)
        calls[1].cancel()
        await asyncio.sleep(0)
        go.set()
        await asyncio.wait(calls)
    assert ran == [0, 2]


@pytest.fixture
def failing(app: Potassium) -> Potassium:
    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        secret = json_in["secret"]
        kinds = {
            "value": ValueError(secret),
            "exit": SystemExit(secret),
            "http": HTTPException(429, "slow down", {"Retry-After": "7", "X-A": "b"}),
            "odd": HTTPException(499, "gone"),
            "ours": InvalidInput("too short"),
        }
        if json_in["kind"] == "object":
            return object()
        raise kinds[json_in["kind"]]

    return app


@pytest.mark.parametrize(
    ("kind", "status", "code", "detail"),
    [
        ("value", 500, "handler_error", "The handler raised an exception."),
        ("exit", 500, "handler_error", "The handler raised an exception."),
        ("http", 429, "too_many_requests", "slow down"),
        ("odd", 499, "status_499", "gone"),
        ("ours", 422, "invalid_input", "too short"),
        (
            "object",
            500,
            "unserializable_output",
            "The result cannot be sent as JSON: object is not JSON serializable.",
        ),
    ],
)
async def test_errors_are_problem_documents(
    failing: Potassium, kind: str, status: int, code: str, detail: str
) -> None:
    """Each error has its status, code and detail, and reveals nothing from inside the handler."""
    async with client(failing) as http:
        response = await http.post("/", json={"kind": kind, "secret": "hunter2"})
    document = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (response.status_code, document["status"]) == (status, status)
    assert (document["code"], document["detail"]) == (code, detail)
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert {"type", "title"} <= set(document)
    assert "hunter2" not in response.text
    assert "traceback" not in document


async def test_headers_of_an_http_exception_are_sent(failing: Potassium) -> None:
    """The headers that Starlette's HTTPException carries are sent."""
    async with client(failing) as http:
        response = await http.post("/", json={"kind": "http", "secret": ""})
    assert (response.headers["Retry-After"], response.headers["X-A"]) == ("7", "b")


@pytest.mark.parametrize(
    ("kind", "logged"), [("value", 1), ("object", 1), ("http", 0), ("ours", 0)]
)
async def test_the_log_has_the_traceback_with_the_request_id(
    failing: Potassium, caplog: pytest.LogCaptureFixture, kind: str, logged: int
) -> None:
    """A fault of the server is logged once, with its traceback; any other error is not logged."""
    with caplog.at_level(logging.INFO, "potassium"):
        async with client(failing) as http:
            body = {"kind": kind, "secret": ""}
            await http.post("/", json=body, headers={"X-Request-Id": "r-7"})
    ours = [record for record in caplog.records if record.name == "potassium"]
    records = [record for record in ours if record.levelno > logging.INFO]
    assert len(records) == logged
    for record in records:
        assert record.exc_info
        assert "r-7" in record.getMessage()
        assert record.__dict__["request_id"] == "r-7"


async def test_debug_sends_the_traceback() -> None:
    """With debug=True the client of a failed call sees where it failed."""
    app = Potassium("test", debug=True)

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise ValueError("here it is")

    async with client(app) as http:
        document = (await http.post("/", json={})).json()
    assert "ValueError: here it is" in document["traceback"][-1]


async def test_a_validator_that_fails_is_an_error_in_the_same_shape(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """What the user's validator raises is a 500 with a request id, and is logged."""

    class Item(pydantic.BaseModel):
        text: str

        @pydantic.field_validator("text")
        @classmethod
        def check(cls, value: str) -> str:
            raise KeyError("hunter2")

    def handler(cache: dict[str, Any], item: Any) -> None: ...

    handler.__annotations__["item"] = Item
    app.handler(handler)
    async with client(app) as http:
        response = await http.post("/", json={"text": "a"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.json()["request_id"] == response.headers["X-Request-Id"]
    assert "hunter2" not in response.text
    assert [bool(record.exc_info) for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HTTPException(400, "a", {"Content-Length": "3", "Transfer-Encoding": "chunked"}), 400),
        (HTTPException(400, "a", {"X-A": "a\r\nSet-Cookie: evil=1"}), 400),
        (HTTPException(400, "a", {"X-A": "\u20ac", "X B": "c"}), 400),
        (HTTPException(400, "\ud800"), 400),
        (HTTPException(204), 204),
        (InvalidInput("a", [{"loc": object()}]), 422),
    ],
    ids=repr,
)
async def test_an_error_that_cannot_be_sent_as_it_is_is_sent_without_that(
    app: Potassium, error: Exception, status: int
) -> None:
    """A header or a detail that HTTP or JSON cannot represent is left out of the response."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise error

    async with app.lifespan():
        start, body = await call(app, chunk(b"{}"))
    headers = [name for name, _ in start["headers"]]
    assert start["status"] == status
    assert headers.count(b"content-length") == (status != 204)
    assert not {b"transfer-encoding", b"x-a", b"x b", b"set-cookie"} & set(headers)
    assert bool(body["body"]) == (status != 204)


async def test_calls_leave_no_reference_cycles(app: Potassium) -> None:
    """A call's body is freed with its response, without the GC, even if the call failed."""
    alive: list[weakref.ref[Request]] = []

    @app.handler
    def handler(cache: dict[str, Any], request: Request) -> None:
        alive.append(weakref.ref(request))
        if request.json["fail"]:
            raise ValueError

    gc.collect()
    gc.disable()
    try:
        async with app.lifespan():
            for body in (b'{"fail": false}', b'{"fail": true}', b'{"fail": false}'):
                await call(app, chunk(body))
            await asyncio.sleep(0.03)
            assert [one() for one in alive] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.parametrize("detail", [{"field": "size", "max": None}, [1, {"a": "b"}]], ids=repr)
async def test_a_detail_that_is_json_arrives_as_json(app: Potassium, detail: Any) -> None:
    """As other frameworks send it, and not as the text of a Python repr."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise HTTPException(422, detail)

    async with client(app) as http:
        assert (await http.post("/", json={})).json()["detail"] == detail


async def test_a_detail_of_another_kind_arrives_as_its_text(app: Potassium) -> None:
    """An exception that was passed on as the detail, for example."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise HTTPException(409, ValueError("taken"))  # type: ignore[arg-type]  # as people do

    async with client(app) as http:
        assert (await http.post("/", json={})).json()["detail"] == "taken"
