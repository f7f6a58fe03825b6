"""Context variables: what the middleware of a request sets is there wherever its call runs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import Annotated, Any

import anyio
import pytest
from pydantic import AfterValidator, BaseModel, PlainSerializer
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from support.asgi import Exchange
from support.calls import until

from potassium import Batch, FromFile, Jobs, Potassium, Request
from potassium.testing import client

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


class Tenants:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            TENANT.set(dict(scope["headers"]).get(b"tenant", b"nobody").decode())
        await self.app(scope, receive, send)


def plain(cache: dict[str, Any], value: Any) -> str:
    return TENANT.get()


async def on_loop(cache: dict[str, Any], value: Any) -> str:
    return TENANT.get()


def streams(cache: dict[str, Any], value: Any) -> Iterator[str]:
    yield TENANT.get()
    yield TENANT.get()


async def streams_on_loop(cache: dict[str, Any], value: Any) -> AsyncIterator[str]:
    yield TENANT.get()


def sets(cache: dict[str, Any], value: Any) -> str:
    before = TENANT.get()
    TENANT.set("set by a handler")
    return before


def look(value: Any) -> str:
    return TENANT.get()


@pytest.mark.parametrize(
    ("function", "options", "seen"),
    [
        (plain, {}, '"{0}"'),
        (on_loop, {}, '"{0}"'),
        (streams, {}, "{0}{0}"),
        (streams_on_loop, {}, "{0}"),
        (sets, {}, '"{0}"'),
        (lambda cache, seen: seen, {"prepare": look}, '"{0}"'),
        (plain, {"finish": look}, '"{0}"'),
    ],
    ids=["plain", "async", "stream", "async stream", "sets", "prepare", "finish"],
)
async def test_a_handler_sees_the_variables_of_its_own_request(
    function: Any, options: dict[str, Any], seen: str
) -> None:
    """On whatever thread it runs; what it sets itself is gone with the call."""
    app = Potassium("test", middleware=[Middleware(Tenants)])
    app.handler("/", **options)(function)
    async with client(app) as http:
        for tenant in ("acme", "umbrella"):
            answer = await http.post("/", json={}, headers={"Tenant": tenant})
            assert answer.text == seen.format(tenant)


async def test_a_job_has_no_variables_of_a_request() -> None:
    """It may run after a restart."""
    app = Potassium("test", middleware=[Middleware(Tenants)], jobs=Jobs(path=None))
    app.background("/")(plain)
    async with client(app) as http:
        headers = {"Tenant": "acme", "Prefer": "wait=5"}
        assert (await http.post("/", json={}, headers=headers)).json() == "nobody"


async def test_a_job_has_no_variables_of_the_code_that_submits_it() -> None:
    """As that of a request, it may run after a restart."""
    app = Potassium("test", jobs=Jobs(path=None))
    seen: asyncio.Queue[str] = asyncio.Queue()

    @app.background("/")
    async def handler(cache: dict[str, Any], value: Any) -> None:
        await seen.put(TENANT.get())

    async with app.lifespan():
        TENANT.set("acme")
        await app.submit("/", {})
        assert await asyncio.wait_for(seen.get(), 10) == "nobody"


async def test_a_batch_has_no_variables_of_a_request_but_its_steps_have() -> None:
    """A batch belongs to several requests; what comes before and after it, to one."""
    app = Potassium("test", middleware=[Middleware(Tenants)])
    costs: list[str] = []

    def cost(value: Any) -> int:
        costs.append(TENANT.get())
        return 1

    @app.handler(
        "/",
        batch=Batch(max_size=8, max_cost=8, cost=cost),
        prepare=look,
        finish=lambda result: [*result, TENANT.get()],
    )
    def handler(cache: dict[str, Any], items: list[Any]) -> Any:
        return [[item, TENANT.get()] for item in items]

    async with client(app) as http:
        tenants = ("acme", "umbrella", "initech")
        answers = await asyncio.gather(
            *(http.post("/", json={}, headers={"Tenant": one}) for one in tenants)
        )
        assert [one.json() for one in answers] == [[one, "nobody", one] for one in tenants]
    assert sorted(costs) == sorted(tenants)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_stream_is_cleaned_up_with_the_variables_of_its_request(*, is_async: bool) -> None:
    """Also if its client has left, and others have been served since."""
    app = Potassium("test", middleware=[Middleware(Tenants)])
    seen: list[str] = []

    def plainly(cache: dict[str, Any], value: Any) -> Iterator[str]:
        try:
            while True:
                yield "x" * 65536
        finally:
            seen.append(TENANT.get())

    async def on_loop(cache: dict[str, Any], value: Any) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 65536
        finally:
            seen.append(TENANT.get())

    app.handler("/")(on_loop if is_async else plainly)
    async with app.lifespan():
        exchange = Exchange(app, tenant="acme")
        await exchange.next()
        exchange.leave()
        await asyncio.wait({exchange.task})
        await until(lambda: seen)
    assert seen == ["acme"]


def note(value: int) -> list[Any]:
    return [value, TENANT.get()]


class Validated(BaseModel):
    padding: str = ""
    value: Annotated[Any, AfterValidator(note)]


@pytest.mark.parametrize("size", [10, 1_000_000], ids=["at once", "on the intake's thread"])
async def test_validators_see_the_variables_of_the_request(size: int) -> None:
    """However large its body is."""
    app = Potassium("test", middleware=[Middleware(Tenants)])

    @app.handler("/")
    def handler(cache: dict[str, Any], item: Validated) -> Any:
        return item.value

    async with client(app) as http:
        body = {"value": 1, "padding": "x" * size}
        answer = await http.post("/", json=body, headers={"Tenant": "acme"})
    assert answer.json() == [1, "acme"]


async def test_decoders_of_files_see_the_variables_of_the_request() -> None:
    """They run on threads of their own."""
    app = Potassium("test", middleware=[Middleware(Tenants)])
    seen: list[tuple[str, str]] = []

    def decode(file: Any) -> int:
        seen.append((TENANT.get(), threading.current_thread().name))
        return 1

    @app.handler("/")
    def handler(
        cache: dict[str, Any], image: Annotated[int, FromFile(decode, ("image/png",))]
    ) -> int:
        return image

    async with client(app) as http:
        headers = {"Tenant": "acme", "Content-Type": "image/png"}
        answer = await http.post("/", content=b"x" * 100_000, headers=headers)
    assert answer.json() == 1
    ((tenant, thread),) = seen
    assert tenant == "acme"
    assert thread.startswith("potassium-files")


class Shown(BaseModel):
    tenant: Annotated[str, PlainSerializer(lambda _: TENANT.get())] = ""


def send_here(request: Request) -> None:
    request.send(Shown())


def send_elsewhere(request: Request) -> None:
    thread = threading.Thread(target=send_here, args=(request,))
    thread.start()
    thread.join()


def send_with_more(request: Request) -> None:
    context = copy_context()
    context.run(TENANT.set, "set by a thread")
    thread = threading.Thread(target=context.run, args=(send_here, request))
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("send", "seen"),
    [
        (send_here, "acme as set by the handler"),
        (send_elsewhere, "acme as set by the handler"),
        (send_with_more, "set by a thread"),
    ],
    ids=["its own thread", "another thread", "another thread with a copy"],
)
async def test_what_is_sent_is_encoded_with_the_variables_of_the_request(
    send: Callable[[Request], None], seen: str
) -> None:
    """On any thread, unless the code there has a copy of them with changes of its own."""
    app = Potassium("test", middleware=[Middleware(Tenants)])

    @app.handler("/")
    def handler(cache: dict[str, Any], request: Request) -> None:
        TENANT.set(f"{TENANT.get()} as set by the handler")
        send(request)

    async with client(app) as http:
        headers = {"Tenant": "acme", "Accept": "application/x-ndjson"}
        answer = await http.post("/", json={}, headers=headers)
    assert answer.json() == {"tenant": seen}


async def test_a_call_made_by_a_handler_has_the_handlers_variables() -> None:
    """From the GPU thread and from the loop; what it sets itself stays with it."""
    app = Potassium("test", middleware=[Middleware(Tenants)])
    app.handler("/inner")(on_loop)

    @app.handler("/plain")
    def outer(cache: dict[str, Any], value: Any) -> Any:
        TENANT.set(TENANT.get() + "'s handler")
        return anyio.from_thread.run(app.call, "/inner", {})

    @app.handler("/async")
    async def outer_on_loop(cache: dict[str, Any], value: Any) -> Any:
        TENANT.set(TENANT.get() + "'s handler")
        return [await app.call("/inner", {}), [one async for one in app.stream("/inner", {})]]

    async with client(app) as http:
        headers = {"Tenant": "acme"}
        inner = (await http.post("/plain", json={}, headers=headers)).json()
        assert inner == "acme's handler"
        inner = (await http.post("/async", json={}, headers=headers)).json()
        assert inner == ["acme's handler", ["acme's handler"]]


async def test_a_response_of_starlettes_is_sent_with_the_variables_of_the_request() -> None:
    """Its body and its background task run in the request's own task."""
    app = Potassium("test", middleware=[Middleware(Tenants)])
    seen: list[str] = []

    async def body() -> AsyncIterator[str]:
        yield TENANT.get()

    @app.handler("/")
    def handler(cache: dict[str, Any], value: Any) -> StreamingResponse:
        later = BackgroundTask(lambda: seen.append(TENANT.get()))
        return StreamingResponse(body(), background=later)

    async with client(app) as http:
        assert (await http.post("/", json={}, headers={"Tenant": "acme"})).text == "acme"
    assert seen == ["acme"]
