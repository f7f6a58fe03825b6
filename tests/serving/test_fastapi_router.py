"""An app inside a FastAPI app, behind the dependencies of that one."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio.from_thread
import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Body, Depends, FastAPI, Form, Header, HTTPException
from fastapi import Request as ParentRequest
from fastapi import Response as ParentResponse
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.asgi import EVENTS, Exchange, scope

from potassium import Jobs, Limits, Potassium, PotassiumError, Request, UsageError
from potassium.engine import State

GOOD = {"Authorization": "Bearer good"}
FORBIDDEN = (401, {"detail": "no such token"})


def auth(authorization: Annotated[str, Header()] = "") -> None:
    if authorization != GOOD["Authorization"]:
        raise HTTPException(401, "no such token")


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def model(ran: list[Any]) -> Potassium:
    """Return an app with a handler of each kind; some note what they were called with."""
    app = Potassium("model", limits=Limits(body_size=1000), jobs=Jobs(path=None))

    @app.handler
    def root(cache: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        ran.append(item)
        return item

    @app.handler("/embed")
    def embed(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        ran.append(item)
        return {"embedded": item}

    @app.handler("/chat")
    def chat(cache: dict[str, Any], item: dict[str, Any]) -> Iterator[str]:
        yield from "abc"

    @app.background("/train")
    def train(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        return item

    return app


@asynccontextmanager
async def calling(parent: FastAPI, *, enters: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """Run the lifespan of a parent app, if it ``enters``, and yield a client that calls it."""
    transport = httpx.ASGITransport(parent)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        if enters:
            async with parent.router.lifespan_context(parent):
                yield http
        else:
            yield http


def including(model: Potassium, *dependencies: Callable[..., Any], **options: Any) -> FastAPI:
    """Return a parent that includes the model at ``/model``, behind ``dependencies``."""
    parent = FastAPI()
    router = model.router_for_fastapi(dependencies=[Depends(one) for one in dependencies])
    parent.include_router(router, **{"prefix": "/model", **options})
    return parent


def by_its_router(model: Potassium) -> FastAPI:
    return including(model, auth)


def by_the_parent(model: Potassium) -> FastAPI:
    parent = FastAPI(dependencies=[Depends(auth)])
    parent.include_router(model.router_for_fastapi(), prefix="/model")
    return parent


def by_the_inclusion(model: Potassium) -> FastAPI:
    return including(model, dependencies=[Depends(auth)])


def by_a_router_between(model: Potassium) -> FastAPI:
    between, parent = APIRouter(prefix="/model", dependencies=[Depends(auth)]), FastAPI()
    between.include_router(model.router_for_fastapi())
    parent.include_router(between)
    return parent


def by_an_iterator(model: Potassium) -> FastAPI:
    parent = FastAPI()
    iterator: Any = map(Depends, [auth])
    parent.include_router(model.router_for_fastapi(dependencies=iterator), prefix="/model")
    return parent


class Page(HTTPEndpoint):
    async def get(self, request: ParentRequest) -> PlainTextResponse:
        return PlainTextResponse("page")


SHAPES = [by_an_iterator, by_its_router, by_the_parent, by_the_inclusion, by_a_router_between]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_dependency_refuses_before_anything_runs(
    model: Potassium, ran: list[Any], shape: Callable[[Potassium], FastAPI]
) -> None:
    """Wherever the dependency is given, its refusal is the answer, in FastAPI's own form."""
    calls = [
        ("POST", "/model/"),
        ("POST", "/model/embed"),
        ("POST", "/model/embed/"),
        ("POST", "/model/chat"),
        ("POST", "/model/train"),
        ("GET", "/model/jobs"),
        ("GET", "/model/jobs/1"),
        ("DELETE", "/model/jobs/1"),
        ("GET", "/model/_k/status"),
        ("HEAD", "/model/_k/status"),
        ("GET", "/model/__status__"),
    ]
    async with calling(shape(model)) as http:
        for method, path in calls:
            response = await http.request(method, path, json={})
            assert response.status_code == 401, path
            assert method == "HEAD" or response.json() == FORBIDDEN[1]
            allowed = await http.request(method, path, json={}, headers=GOOD)
            assert allowed.status_code in (200, 202, 404), path
    assert ran == [{}] * 3  # by the calls that were allowed


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_refused_body_stays_unread(
    model: Potassium, shape: Callable[[Potassium], FastAPI]
) -> None:
    """A client without a token cannot make the server take in anything."""
    parent, sent = shape(model), []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    async with parent.router.lifespan_context(parent):
        await parent({**scope("/model/embed"), "query_string": b""}, receive, send)
    assert sent[0]["status"] == 401


async def test_nothing_of_a_parent_protects_a_mount(model: Potassium) -> None:
    """FastAPI runs its dependencies for its own routes only: this is what the router is for."""
    parent = FastAPI(lifespan=model.lifespan, dependencies=[Depends(auth)])
    parent.mount("/model", model)
    router = APIRouter(dependencies=[Depends(auth)])
    router.mount("/model", model)
    parent.include_router(router, prefix="/again")
    async with calling(parent) as http:
        response = await http.post("/model/embed", json={})
        assert (response.status_code, response.json()) == (200, {"embedded": {}})
        assert (await http.post("/again/model/embed", json={})).status_code == 200


async def test_middleware_of_a_parent_protects_a_mount(model: Potassium) -> None:
    """What wraps the whole parent wraps the mounted app as well."""

    class Guard:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and not any(
                k == b"authorization" for k, _ in scope["headers"]
            ):
                await PlainTextResponse("no", 401)(scope, receive, send)
                return
            await self.app(scope, receive, send)

    parent = FastAPI(lifespan=model.lifespan, middleware=[Middleware(Guard)])
    parent.mount("/model", model)
    async with calling(parent) as http:
        assert (await http.post("/model/embed", json={})).status_code == 401
        assert (await http.post("/model/embed", json={}, headers=GOOD)).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_k/warmup"])
async def test_probes_are_open_unless_the_parent_closes_them(model: Potassium, path: str) -> None:
    """The router's own dependencies leave them out, as API keys do; all others do not."""
    async with calling(by_its_router(model)) as http:
        assert (await http.get(f"/model{path}")).status_code == 200
    async with calling(by_the_inclusion(model)) as http:
        assert (await http.get(f"/model{path}")).status_code == 401
        assert (await http.get(f"/model{path}", headers=GOOD)).status_code == 200


async def test_the_page_of_metrics_is_guarded() -> None:
    """By all dependencies, although it needs no API key: Prometheus can send a token."""
    model = Potassium("model", metrics=True)
    model.handler("/embed")(lambda cache, json_in: {})
    parent = FastAPI()
    parent.include_router(model.router_for_fastapi(dependencies=[Depends(auth)]), prefix="/model")
    async with calling(parent) as http:
        assert (await http.get("/model/metrics")).status_code == 401
        assert "potassium_ready" in (await http.get("/model/metrics", headers=GOOD)).text


async def test_the_apps_own_keys_and_middleware_hold_as_well(ran: list[Any]) -> None:
    """A call passes the parent's dependencies, then all that the app itself demands."""

    class Marking:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            ran.append(scope["type"])
            await self.app(scope, receive, send)

    model = Potassium("model", api_keys=["secret"], middleware=[Middleware(Marking)])
    model.handler("/embed")(lambda cache, item: item)
    async with calling(including(model, auth)) as http:
        refused = await http.post("/model/embed", json={}, headers=GOOD)
        assert refused.json()["code"] == "unauthorized"
        both = {**GOOD, "X-Api-Key": "secret"}
        assert (await http.post("/model/embed", json={}, headers=both)).status_code == 200
    assert ran == ["http", "http"]


async def test_a_call_is_answered_with_all_that_the_app_can(model: Potassium) -> None:
    """Errors, limits, streams and deadlines are those of the contract, for allowed calls."""
    hold = threading.Event()
    model.handler("/hold")(lambda cache, item: hold.wait(10))
    async with calling(including(model, auth)) as http:
        http.headers.update(GOOD)
        answer = await http.post("/model/embed", json=[1])
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
        answer = await http.post("/model/embed", json={"a": "a" * 1000})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        answer = await http.post("/model/chat", json={}, headers={"Accept": EVENTS})
        assert answer.text.startswith("id: 1\ndata: a\n\n")
        assert answer.text.endswith("event: end\ndata:\n\n")
        answer = await http.post("/model/hold", json={}, headers={"Prefer": "wait=0.01"})
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        hold.set()
        answer = await http.post("/model/embed", json={}, headers={"X-Request-Id": "mine"})
        assert answer.headers["x-request-id"] == "mine"


async def test_a_handler_answers_with_and_without_a_slash(model: Potassium) -> None:
    """Also below a prefix, without a redirect; the bare prefix is redirected, as for a mount."""
    async with calling(including(model)) as http:
        for path in ("/model/embed", "/model/embed/"):
            assert (await http.post(path, json={})).json() == {"embedded": {}}
        assert (await http.post("/model/", json={"a": 1})).json() == {"a": 1}
        assert (await http.post("/model", json={})).status_code == 307
        assert (await http.post("/model/nowhere", json={})).json() == {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"prefix": ""}, ""),
        ({"prefix": "/model"}, "/model"),
        ({"prefix": "/tenants/{tenant}/models"}, "/tenants/a/models"),
    ],
)
async def test_a_job_is_followed_below_any_prefix(
    model: Potassium, options: dict[str, str], path: str
) -> None:
    """``Location`` leads back through the parent."""
    async with calling(including(model, **options)) as http:
        accepted = await http.post(f"{path}/train", json={"a": 1})
        assert accepted.status_code == 202
        assert accepted.headers["location"].startswith(f"{path}/jobs/")
        job = await http.get(accepted.headers["location"], headers={"Prefer": "wait=5"})
        assert job.json()["output"] == {"a": 1}
        assert len((await http.get(f"{path}/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("path", ["/api/model", "/model"], ids=["kept", "removed"])
async def test_a_job_is_followed_behind_a_proxy(model: Potassium, path: str) -> None:
    """With a server's ``root_path``, whether or not the proxy removes it from the path."""
    parent = including(model)
    transport = httpx.ASGITransport(parent, root_path="/api")
    async with (
        parent.router.lifespan_context(parent),
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
    ):
        accepted = await http.post(f"{path}/train", json={"a": 1})
        assert accepted.headers["location"].startswith("/api/model/jobs/")
        assert (await http.get(accepted.headers["location"])).status_code == 200


async def test_a_parent_may_be_mounted_itself(model: Potassium) -> None:
    """The path of the app is below both."""
    inner, outer = including(model, auth), FastAPI()
    outer.mount("/outer", inner)
    async with inner.router.lifespan_context(inner), calling(outer, enters=False) as http:
        accepted = await http.post("/outer/model/train", json={}, headers=GOOD)
        assert accepted.headers["location"].startswith("/outer/model/jobs/")
        assert (await http.post("/outer/model/embed", json={})).status_code == 401


async def test_a_dependency_may_read_the_body(model: Potassium) -> None:
    """As one does that checks a signature, or takes a parameter from it; the handler has it too."""

    async def check(request: ParentRequest) -> None:
        assert await request.body() == b'{"key":1}'

    def take(key: Annotated[int, Body(embed=True)]) -> None:
        assert key == 1

    async with calling(including(model, check, take)) as http:
        assert (await http.post("/model/embed", json={"key": 1})).json() == {"embedded": {"key": 1}}
        accepted = await http.post("/model/train", json={"key": 1}, headers={"Prefer": "wait=5"})
        assert accepted.json() == {"key": 1}


@pytest.mark.parametrize("kind", ["form", "stream"])
async def test_a_dependency_that_consumes_the_body_is_a_usage_error(
    model: Potassium, kind: str
) -> None:
    """It says what to do instead, where the call would wait for a body that has come already."""

    async def consume(request: ParentRequest) -> None:
        async for _ in request.stream():
            pass

    def form(name: Annotated[str, Form()]) -> None: ...

    async with calling(including(model, form if kind == "form" else consume)) as http:
        with pytest.raises(UsageError, match=r"await request.body\(\)"):
            await http.post("/model/embed", files={"name": (None, "a")})


async def test_a_dependency_ends_after_the_response(model: Potassium) -> None:
    """The code after its ``yield`` runs once the whole stream has been sent, as in FastAPI."""
    events: list[str] = []

    async def session() -> AsyncIterator[None]:
        events.append("begins")
        yield
        events.append("ends")

    async def send(message: Any) -> None:
        events.append(message["type"].rpartition(".")[2])

    async def receive() -> Any:
        if events == ["begins"]:
            return {"type": "http.request", "body": b"{}"}
        return await asyncio.Event().wait()

    parent = including(model, session)
    async with parent.router.lifespan_context(parent):
        await parent({**scope("/model/chat"), "query_string": b""}, receive, send)
    assert events[:2] == ["begins", "start"]
    assert events[-2:] == ["body", "ends"]


async def test_background_tasks_of_a_dependency_run_after_the_response(model: Potassium) -> None:
    """As they do for FastAPI's own routes."""
    events: list[str] = []

    def note(tasks: BackgroundTasks) -> None:
        tasks.add_task(events.append, "task")

    async with calling(including(model, note)) as http:
        await http.post("/model/embed", json={})
    assert events == ["task"]


async def test_headers_of_a_dependency_are_sent(model: Potassium) -> None:
    """Cookies and limits, for example; several of one name stay several."""

    def note(response: ParentResponse) -> None:
        response.headers["X-Left"] = "7"
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")

    async with calling(including(model, note)) as http:
        for path in ("/model/embed", "/model/chat"):
            response = await http.post(path, json={})
            assert response.headers["x-left"] == "7"
            assert len(response.headers.get_list("set-cookie")) == 2
            assert len(response.headers.get_list("content-type")) == 1


async def test_a_tests_override_of_a_dependency_holds(model: Potassium) -> None:
    """``dependency_overrides`` of the parent are applied."""
    parent = by_its_router(model)
    parent.dependency_overrides[auth] = lambda: None
    async with calling(parent) as http:
        assert (await http.post("/model/embed", json={})).status_code == 200


async def test_a_client_that_leaves_is_noticed(model: Potassium) -> None:
    """The endpoint watches the connection itself."""
    begun, saw = threading.Semaphore(0), threading.Event()

    @model.handler("/wait")
    def wait(cache: dict[str, Any], request: Request) -> None:
        begun.release()
        while not request.cancelled:
            pass
        saw.set()

    parent = including(model, auth)
    async with parent.router.lifespan_context(parent):
        client = Exchange(with_query(parent), path="/model/wait", authorization="Bearer good")
        await asyncio.to_thread(begun.acquire, timeout=10)
        client.leave()
        assert await asyncio.to_thread(saw.wait, 10)
        await client.task


def with_query(app: Any) -> Any:
    return lambda scope, receive, send: app({**scope, "query_string": b""}, receive, send)


# The lifespan.


def state_of(model: Potassium) -> State:
    return model._runtime.lifecycle.state


async def test_including_the_router_is_enough_to_start_the_app(model: Potassium) -> None:
    """The parent's lifespan contains the router's."""
    parent = including(model)
    async with parent.router.lifespan_context(parent):
        assert state_of(model) is State.READY
    assert state_of(model) is State.STOPPED


async def test_the_app_runs_inside_of_the_parents_own_lifespan(model: Potassium) -> None:
    """It starts after the parent's own startup code, and stops before its shutdown code."""
    states: list[State] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        states.append(state_of(model))
        yield
        states.append(state_of(model))

    @asynccontextmanager
    async def calling_at_startup(_: FastAPI) -> AsyncIterator[None]:
        async with model.lifespan():
            assert await model.call("/embed", {}) == {"embedded": {}}
            yield

    router = model.router_for_fastapi()
    for own in (lifespan, calling_at_startup):
        parent = FastAPI(lifespan=own)
        parent.include_router(router)
        async with parent.router.lifespan_context(parent):
            assert state_of(model) is State.READY
        assert state_of(model) is State.STOPPED
    assert states == [State.STARTING, State.STOPPED]


async def test_the_app_starts_once_however_often_it_is_included(model: Potassium) -> None:
    """Under two prefixes, and with the app's lifespan as the parent's own."""
    parent = FastAPI(lifespan=model.lifespan)
    parent.include_router(model.router_for_fastapi(), prefix="/v1")
    parent.include_router(model.router_for_fastapi(dependencies=[Depends(auth)]), prefix="/v2")
    async with calling(parent) as http:
        assert (await http.post("/v1/embed", json={})).status_code == 200
        assert (await http.post("/v2/embed", json={})).status_code == 401
    assert state_of(model) is State.STOPPED


async def test_the_first_request_starts_an_app_whose_parent_has_no_lifespan(
    model: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """As for a mount: a server that runs no lifespans, or a client for tests."""
    async with calling(including(model), enters=False) as http:
        assert (await http.post("/model/embed", json={})).status_code == 200
    assert "lifespan=app.lifespan" in caplog.text
    lazy = model._runtime._lazy
    assert lazy is not None
    lazy.cancel()
    await asyncio.wait({lazy})


def test_a_handler_that_comes_too_late_is_a_usage_error(model: Potassium) -> None:
    """It would have no route. ``init`` may still come."""
    model.router_for_fastapi()
    model.init(lambda: {"loaded": True})
    with pytest.raises(UsageError, match=r"came after app.router_for_fastapi\(\)"):
        model.handler("/late")(lambda cache, item: item)


def test_without_fastapi_the_error_names_what_to_install(
    model: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is imported only here."""
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(UsageError, match="pip install fastapi"):
        model.router_for_fastapi()


# The parent's own routes.


async def test_a_route_of_the_parent_calls_the_model(model: Potassium) -> None:
    """In the process, from a route on the loop or in the pool, behind its own dependencies."""
    parent = FastAPI(lifespan=model.lifespan)

    @parent.post("/both", dependencies=[Depends(auth)])
    async def both(item: dict[str, Any]) -> Any:
        return await asyncio.gather(model.call("/embed", item), model.call("/", item))

    @parent.post("/sync")
    def sync(item: dict[str, Any]) -> Any:
        return anyio.from_thread.run(model.call, "/embed", item)

    async with calling(parent) as http:
        assert (await http.post("/both", json={})).status_code == 401
        answer = await http.post("/both", json={"a": 1}, headers=GOOD)
        assert answer.json() == [{"embedded": {"a": 1}}, {"a": 1}]
        assert (await http.post("/sync", json={"a": 1})).json() == {"embedded": {"a": 1}}


async def test_a_route_of_the_parent_answers_refusals(model: Potassium) -> None:
    """With one exception handler, they keep their status, and say when to try again."""
    parent = FastAPI(lifespan=model.lifespan)

    @parent.exception_handler(PotassiumError)
    async def refused(request: ParentRequest, error: PotassiumError) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status, dict(error.headers))

    @parent.post("/embed")
    async def embed(item: Annotated[Any, Body()]) -> Any:
        return await model.call("/embed", item)

    @parent.post("/chat")
    async def chat() -> StreamingResponse:
        return StreamingResponse(await model.stream("/chat", {}), media_type="text/plain")

    async with calling(parent) as http:
        assert (await http.post("/embed", json=[])).status_code == 422
        assert (await http.post("/chat")).text == "abc"
        model._runtime.drain()
        for path in ("/embed", "/chat"):
            answer = await http.post(path, json={})
            assert answer.status_code == 503
            assert answer.headers["retry-after"]


async def test_cors_of_the_parent_covers_the_model(model: Potassium) -> None:
    """Preflights need no token, and browsers can read every answer, refusals included."""
    parent = by_its_router(model)
    parent.mount("/mounted", model)
    parent.add_middleware(
        CORSMiddleware,
        allow_origins=["http://page"],
        allow_methods=["POST"],
        allow_headers=["authorization"],
    )
    origin = {"Origin": "http://page"}
    asks = {**origin, "Access-Control-Request-Method": "POST"}
    async with calling(parent) as http:
        for path in ("/model/embed", "/mounted/embed"):
            assert (await http.options(path, headers=asks)).status_code == 200
            for headers in (origin, origin | GOOD):
                answer = await http.post(path, json={}, headers=headers)
                assert answer.headers["access-control-allow-origin"] == "http://page"


async def test_routes_of_the_apps_own_come_along(ran: list[Any]) -> None:
    """Starlette's routes are behind the dependencies as well, whatever their parameters."""

    async def show(request: ParentRequest) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["name"])

    model = Potassium("model", routes=[Route("/show/{name}", show), Route("/{all:path}", show)])
    model.handler("/embed")(lambda cache, item: item)
    async with calling(including(model, auth)) as http:
        assert (await http.get("/model/show/a")).status_code == 401
        assert (await http.get("/model/show/a", headers=GOOD)).text == "a"
        assert (await http.get("/model/other/a", headers=GOOD)).json() == {"detail": "Not Found"}


async def test_a_route_that_is_a_class_is_included(model: Potassium) -> None:
    """With all methods, to which it answers itself; only those that it has are documented."""
    model.router.routes.append(Route("/page", Page))
    parent = including(model, auth)
    async with calling(parent) as http:
        assert (await http.get("/model/page")).status_code == 401
        assert (await http.get("/model/page", headers=GOOD)).text == "page"
        assert (await http.head("/model/page", headers=GOOD)).status_code == 200
        assert (await http.put("/model/page", headers=GOOD)).status_code == 405
    assert list(parent.openapi()["paths"]["/model/page"]) == ["get"]
