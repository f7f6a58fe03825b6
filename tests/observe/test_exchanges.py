"""What observers are told of requests and their responses."""

import gc
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from potassium import HTTPException, Potassium
from potassium.engine import Job
from potassium.http.exchange import Exchange
from potassium.observe.exchanges import Exchanges
from potassium.testing import client

GOOD = {"X-Api-Key": "good"}


class Witness:
    """Keeps what each exchange was, as it ended."""

    def __init__(self) -> None:
        self.begun: list[Exchange] = []
        self.ended_: list[Exchange] = []

    def began(self, exchange: Exchange) -> None:
        assert not exchange.ended_at
        self.begun.append(exchange)

    def ended(self, exchange: Exchange) -> None:
        assert exchange.began_at <= exchange.ended_at
        self.ended_.append(exchange)

    @property
    def last(self) -> Exchange:
        return self.ended_[-1]

    @property
    def seen(self) -> tuple[str, int, str]:
        return self.last.handler, self.last.status, self.last.code


@pytest.fixture
def app() -> Potassium:
    app = Potassium(api_keys=["good"])

    @app.handler("/echo")
    def echo(cache: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        return item

    @app.handler("/fail")
    def fail(cache: dict[str, Any], item: dict[str, Any]) -> None:
        if "status" in item:
            raise HTTPException(item["status"])
        raise ValueError("no")

    @app.handler("/stream")
    def stream(cache: dict[str, Any], item: dict[str, Any]) -> Iterator[str]:
        yield "a"
        yield "bc"
        if item:
            raise ValueError("no")

    @app.background("/later")
    def later(cache: dict[str, Any], item: dict[str, Any]) -> None: ...

    return app


@pytest.fixture
def witness(app: Potassium) -> Witness:
    witness = Witness()
    app._parts.observation.exchanges.append(witness)
    return witness


@pytest.fixture
async def http(app: Potassium, witness: Witness) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app) as http:
        http.headers.update(GOOD)
        yield http


async def test_an_exchange_knows_its_handler_its_call_and_its_sizes(
    http: httpx.AsyncClient, witness: Witness
) -> None:
    """And its status; it has no code unless it fails."""
    answer = await http.post("/echo/", json={"a": 1})
    assert witness.begun == witness.ended_ == [witness.last]
    assert witness.seen == ("/echo", 200, "")
    assert (witness.last.received, witness.last.sent) == (len('{"a":1}'), len(answer.content))
    assert isinstance(witness.last.call, Job)
    assert witness.last.call.ended_at is not None


@pytest.mark.parametrize(
    ("path", "options", "seen"),
    [
        ("/echo", {"headers": {"X-Api-Key": "bad"}}, ("/echo", 401, "unauthorized")),
        ("/echo", {"content": b"{", "headers": {}}, ("/echo", 415, "unsupported_media_type")),
        ("/echo", {"json": []}, ("/echo", 422, "invalid_input")),
        ("/fail", {"json": {}}, ("/fail", 500, "handler_error")),
        ("/fail", {"json": {"status": 409}}, ("/fail", 409, "conflict")),
        ("/nowhere", {"json": {}}, ("", 404, "not_found")),
        ("/healthz", {"json": {}}, ("", 405, "method_not_allowed")),
        ("/later", {"json": {}}, ("/later", 202, "")),
    ],
)
async def test_a_refusal_has_the_code_of_its_problem_document(
    http: httpx.AsyncClient,
    witness: Witness,
    path: str,
    options: dict[str, Any],
    seen: tuple[str, int, str],
) -> None:
    """Also before it gets to a handler, and where there is none."""
    answer = await http.post(path, **options)
    if answer.is_error:
        assert answer.json()["code"] == seen[2]
    assert witness.seen == seen


async def test_a_stream_is_over_with_its_last_chunk(
    http: httpx.AsyncClient, witness: Witness
) -> None:
    """All that was sent counts."""
    answer = await http.post("/stream", json={}, headers={"Accept": "text/plain"})
    assert answer.text == "abc"
    assert (*witness.seen, witness.last.sent) == ("/stream", 200, "", 3)


async def test_a_stream_that_breaks_has_a_code(http: httpx.AsyncClient, witness: Witness) -> None:
    """Although its status was sent before."""
    accept = {"Accept": "text/event-stream"}
    answer = await http.post("/stream", json={"a": 1}, headers=accept)
    assert "handler_error" in answer.text
    assert witness.seen == ("/stream", 200, "handler_error")


async def test_an_app_that_raises_has_an_exchange_too() -> None:
    """Nobody is told less because something went wrong."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    witness = Witness()
    scope: Scope = {"type": "http", "method": "POST", "path": "/model/x", "root_path": "/model"}
    with pytest.raises(RuntimeError):
        await Exchanges(broken, [witness], ["/x"])(scope, _nothing, _ignore)
    assert witness.seen == ("/x", 500, "internal_error")


async def test_nothing_is_left_for_the_collector() -> None:
    """Scope and exchange refer to each other only as long as the request lasts."""

    class Marked(dict[str, Any]):
        pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})

    scope = Marked(type="http", method="POST", path="/", root_path="")
    left = weakref.ref(scope)
    gc.disable()
    try:
        await Exchanges(app, [RequestsOnly()], [])(scope, _nothing, _ignore)
        del scope
        assert left() is None
    finally:
        gc.enable()


class RequestsOnly:
    def began(self, exchange: Exchange) -> None:
        pass

    def ended(self, exchange: Exchange) -> None:
        pass


async def test_other_connections_pass() -> None:
    """A lifespan and a WebSocket are not requests."""
    passed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["type"])

    witness = Witness()
    for kind in ("lifespan", "websocket"):
        await Exchanges(app, [witness], [])({"type": kind}, _nothing, _ignore)
    assert (passed, witness.begun) == (["lifespan", "websocket"], [])


def test_what_is_off_is_not_imported() -> None:
    """An app that measures nothing imports no library for it, and has no middleware for it."""
    code = (
        "import sys; from potassium import Potassium; app = Potassium();"
        "app.handler(lambda cache, x: x); stack = app.build_middleware_stack();"
        "print(type(stack).__name__, {'prometheus_client', 'opentelemetry'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "FastPath set()"


async def _nothing() -> Any:
    raise AssertionError("nothing is received")


async def _ignore(message: Any) -> None:
    pass


class Marking:
    """ASGI middleware of an app's own that marks every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-mark", b"1")]
            await send(message)

        await self.app(scope, receive, marked)


@pytest.mark.parametrize("metrics", [True, False])
async def test_a_call_passes_the_same_middleware_whether_it_is_measured(metrics: bool) -> None:
    app = Potassium(middleware=[Middleware(Marking)], metrics=metrics)
    timed = Potassium(server_timing=True, metrics=metrics)
    locked = Potassium(api_keys=["good"], metrics=metrics)
    plain = Potassium(metrics=metrics)
    for one in (app, timed, locked, plain):

        @one.handler("/echo")
        def echo(cache: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
            return item

    answers = []
    for one in (app, timed, locked, plain):
        async with client(one) as http:
            answers.append(await http.post("/echo", json={}))

    assert [answer.status_code for answer in answers] == [200, 200, 401, 200]
    assert [answer.headers.get("x-mark") for answer in answers] == ["1", None, None, None]
    assert ["server-timing" in answer.headers for answer in answers] == [False, True, False, False]
