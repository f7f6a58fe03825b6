"""The app: decorators, cache, and mistakes that fail when they are made."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import torch
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from potassium import Batch, Jobs, Limits, Potassium, Request, Response, UsageError
from potassium.testing import client


def echo(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return json_in


async def test_the_first_generation_of_the_api(app: Potassium) -> None:
    """init calls set_cache, the handler takes cache and JSON and returns a dict."""

    @app.init
    def init() -> None:
        app.set_cache({"factor": 3})

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return {"out": cache["factor"] * json_in["x"]}

    async with client(app) as http:
        response = await http.post("/", json={"x": 2})
    assert (response.status_code, response.json()) == (200, {"out": 6})


async def test_the_second_generation_of_the_api(app: Potassium) -> None:
    """init returns the cache, the handler takes context and Request and returns a Response."""

    @app.init
    def init() -> dict[str, Any]:
        return {"factor": 3}

    @app.handler("/scale")
    def handler(context: dict[str, Any], request: Request) -> Response:
        out = context["factor"] * request.json["x"]
        return Response(status=201, json={"out": out, "id": request.id}, headers={"X-Model": "m"})

    async with client(app) as http:
        response = await http.post("/scale", json={"x": 2}, headers={"X-Request-Id": "r-1"})
    assert response.status_code == 201
    assert response.json() == {"out": 6, "id": "r-1"}
    assert (response.headers["X-Model"], response.headers["X-Request-Id"]) == ("m", "r-1")


async def test_the_cache_can_be_replaced_from_a_handler(app: Potassium) -> None:
    """The next call sees exactly the cache that a handler has set."""
    app.set_cache({"calls": 0, "old": True})

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        app.set_cache({"calls": cache["calls"] + 1})
        return cache

    async with client(app) as http:
        answers = [(await http.post("/", json={})).json() for _ in range(3)]
    assert answers == [{"calls": 0, "old": True}, {"calls": 1}, {"calls": 2}]
    assert app.get_cache() == {"calls": 3}


@pytest.mark.parametrize("cache", [None, [], "model"])
def test_the_cache_is_a_dict(app: Potassium, cache: Any) -> None:
    """Anything else is a TypeError at once."""
    with pytest.raises(TypeError, match="dict"):
        app.set_cache(cache)


async def test_an_init_that_returns_no_dict_fails_the_start(app: Potassium) -> None:
    """init returns a dict or nothing."""

    @app.init
    def init() -> Any:
        return "model"

    with pytest.raises(TypeError, match="The cache must be a dict, not str"):
        async with client(app):
            pass


@pytest.mark.parametrize(
    ("init", "lines"),
    [
        (lambda app: None, ["init returned nothing and set no cache: handlers get an empty dict"]),
        (lambda app: {}, []),
        (lambda app: app.set_cache({}), []),
        (lambda app: app.get_cache().update(model=len), []),
    ],
    ids=["nothing", "a dict", "set_cache", "get_cache"],
)
async def test_an_init_that_leaves_no_cache_is_told(
    app: Potassium,
    caplog: pytest.LogCaptureFixture,
    init: Callable[[Potassium], Any],
    lines: list[str],
) -> None:
    """A forgotten ``return`` shows in the log; it is not a warning, as init may load globals."""
    app.init(lambda: init(app))
    with caplog.at_level(logging.INFO, "potassium"):
        async with client(app):
            pass
    messages = [record.getMessage() for record in caplog.records]
    assert [one for one in messages if not one.startswith("ready in")] == lines


async def test_init_may_have_parentheses(app: Potassium) -> None:
    """``@app.init()`` is ``@app.init``."""

    @app.init()
    def init() -> dict[str, Any]:
        return {"factor": 3}

    async with client(app):
        assert app.get_cache() == {"factor": 3}


async def test_async_handlers_are_served(app: Potassium) -> None:
    """An async def handler is registered and called like any other."""

    @app.handler("/a", concurrency=4)
    async def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return {"async": json_in}

    async with client(app) as http:
        assert (await http.post("/a", json={"x": 1})).json() == {"async": {"x": 1}}


async def test_a_function_can_answer_several_paths(app: Potassium) -> None:
    """Decorators stack, and leave the function callable."""
    decorated = app.handler("/a")(app.handler("b")(echo))
    assert decorated is echo
    async with client(app) as http:
        for path in ("/a", "/b"):
            assert (await http.post(path, json={"x": path})).json() == {"x": path}


async def test_callables_without_a_name_are_handlers_too(app: Potassium) -> None:
    """A partial can be a handler, and the refusal of a second one on its path names it."""
    app.handler("/partial")(functools.partial(echo))
    with pytest.raises(UsageError, match="already answered by partial"):
        app.handler("/partial")(echo)
    async with client(app) as http:
        assert (await http.post("/partial", json={"x": 1})).json() == {"x": 1}


class Mistake:
    """Ways to misuse the app."""

    @staticmethod
    def second_init(app: Potassium) -> None:
        app.init(lambda: None)
        app.init(lambda: None)

    @staticmethod
    def async_init(app: Potassium) -> None:
        async def init() -> None: ...

        app.init(init)

    @staticmethod
    def init_with_the_cache(app: Potassium) -> None:
        app.init(lambda cache: None)

    @staticmethod
    def init_with_two_arguments(app: Potassium) -> None:
        app.init(lambda path, size: None)

    @staticmethod
    def init_that_is_none(app: Potassium) -> None:
        app.init(5)  # type: ignore[call-overload]

    @staticmethod
    def name_that_is_none(app: Potassium) -> None:
        Potassium(Limits())  # type: ignore[arg-type]

    @staticmethod
    def a_limit_among_the_options(app: Potassium) -> None:
        Potassium("x", queue_size=3)  # type: ignore[arg-type]

    @staticmethod
    def typo_in_an_option(app: Potassium) -> None:
        Potassium("x", limit=Limits())  # type: ignore[arg-type]

    @staticmethod
    def path_that_is_none(app: Potassium) -> None:
        app.handler(3)  # type: ignore[call-overload]

    @staticmethod
    def two_handlers_on_root(app: Potassium) -> None:
        app.handler(echo)
        app.handler(echo)

    @staticmethod
    def one_path_in_two_spellings(app: Potassium) -> None:
        app.handler("foo")(echo)
        app.handler("/foo/")(echo)

    @staticmethod
    def reserved_path(app: Potassium) -> None:
        app.handler("/_k/status")(echo)

    @staticmethod
    def path_with_parameters(app: Potassium) -> None:
        app.handler("/models/{name}")(echo)

    @staticmethod
    def path_with_half_a_parameter(app: Potassium) -> None:
        app.handler("/models/name}")(echo)

    @staticmethod
    def concurrency_of_the_gpu_thread(app: Potassium) -> None:
        app.handler("/a", concurrency=2)(echo)

    @staticmethod
    def no_concurrency(app: Potassium) -> None:
        async def handler(cache: Any, json_in: Any) -> None: ...

        app.handler("/a", concurrency=0)(handler)

    @staticmethod
    def nothing_to_serve(app: Potassium) -> None:
        app.serve()

    @staticmethod
    def webhook_without_handler(app: Potassium) -> None:
        app.handler("/a")(echo)
        app.result_webhook(url="http://localhost:1/")(lambda cache, json_in: None)
        app.serve()

    @staticmethod
    def webhook_without_url(app: Potassium) -> None:
        app.result_webhook(url="localhost:8001")(echo)

    @staticmethod
    def workers(app: Potassium) -> None:
        app.handler(echo)
        app.serve(workers=2)

    @staticmethod
    def no_workers(app: Potassium) -> None:
        Potassium("test", workers=0)

    @staticmethod
    def middleware_as_a_tuple(app: Potassium) -> None:
        Potassium("test", middleware=[(CORSMiddleware, {"allow_origins": ["*"]})])  # type: ignore[list-item]

    @staticmethod
    def middleware_without_a_list(app: Potassium) -> None:
        Potassium("test", middleware=Middleware(CORSMiddleware))  # type: ignore[arg-type]

    @staticmethod
    def handler_among_the_routes(app: Potassium) -> None:
        Potassium("test", routes=[echo])  # type: ignore[list-item]

    @staticmethod
    def limits_as_a_dict(app: Potassium) -> None:
        Potassium("test", limits={"queue_size": 1})  # type: ignore[arg-type]

    @staticmethod
    def answers_as_a_list(app: Potassium) -> None:
        Potassium("test", exception_handlers=[echo])  # type: ignore[arg-type]

    @staticmethod
    def debug_as_text(app: Potassium) -> None:
        Potassium("test", debug="false")  # type: ignore[arg-type]

    @staticmethod
    def no_function(app: Potassium) -> None:
        app.handler("/a")({"a": 1})  # type: ignore[type-var]

    @staticmethod
    def request_of_another_framework(app: Potassium) -> None:
        def handler(cache: Any, request: StarletteRequest) -> None: ...

        app.handler("/a")(handler)

    @staticmethod
    def async_prepare(app: Potassium) -> None:
        async def prepare(item: dict[str, Any]) -> list[Any]:
            return [item]

        app.handler("/a", prepare=prepare)(echo)

    @staticmethod
    def async_batch(app: Potassium) -> None:
        async def handler(cache: Any, items: list[Any]) -> list[Any]:
            return items

        app.handler("/a", batch=Batch())(handler)

    @staticmethod
    def finish_with_the_cache_last(app: Potassium) -> None:
        def finish(result: Any, cache: dict[str, Any]) -> None: ...

        app.handler("/a", finish=finish)(echo)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (Mistake.second_init, "one"),
        (Mistake.async_init, "write def"),
        (Mistake.init_with_the_cache, "what init gets is its device"),
        (Mistake.init_with_two_arguments, r"init\(path, size\): .* only its device"),
        (Mistake.init_that_is_none, "init is a function, not 5"),
        (Mistake.name_that_is_none, r'write a name, as in Potassium\("server"\)'),
        (Mistake.a_limit_among_the_options, r"write limits=Limits\(queue_size=\.\.\.\)"),
        (Mistake.typo_in_an_option, r"Potassium\(limit=.*did you mean limits\?"),
        (Mistake.path_that_is_none, "write a path"),
        (Mistake.two_handlers_on_root, "POST / is already answered by echo"),
        (Mistake.one_path_in_two_spellings, "POST /foo is already answered by echo"),
        (Mistake.reserved_path, "/_k/status is one of the server's own pages"),
        (Mistake.path_with_parameters, "the path of a handler is fixed"),
        (Mistake.path_with_half_a_parameter, "the path of a handler is fixed"),
        (Mistake.concurrency_of_the_gpu_thread, "one GPU thread"),
        (Mistake.no_concurrency, "above zero"),
        (Mistake.nothing_to_serve, "@app.handler"),
        (Mistake.webhook_without_handler, "no @app.handler"),
        (Mistake.webhook_without_url, "http or https"),
        (Mistake.workers, r'Potassium\("server", workers=2\)'),
        (Mistake.no_workers, r"Workers\(0\): write a number of workers above zero"),
        (Mistake.middleware_as_a_tuple, r"write middleware=\[Middleware\("),
        (Mistake.middleware_without_a_list, r"not a list; write middleware=\[Middleware\("),
        (Mistake.handler_among_the_routes, r"write routes=\[Route\("),
        (Mistake.limits_as_a_dict, r"write limits=Limits\("),
        (Mistake.answers_as_a_list, "exception_handlers"),
        (Mistake.debug_as_text, "write debug=True"),
        (Mistake.no_function, "not a function"),
        (Mistake.request_of_another_framework, "write: from potassium import Request"),
        (Mistake.async_prepare, r"write def prepare\(\.\.\.\), not async def"),
        (Mistake.async_batch, "write def, not async def"),
        (Mistake.finish_with_the_cache_last, r"def finish\(cache: dict, value\)"),
    ],
)
def test_mistakes_fail_when_they_are_made(app: Potassium, mistake: Any, message: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(UsageError, match=message):
        mistake(app)


async def test_serving_inside_of_an_event_loop_is_a_mistake(app: Potassium) -> None:
    """The message says how to serve there instead."""
    app.handler(echo)
    with pytest.raises(UsageError, match="await uvicorn"):
        app.serve()


@pytest.mark.parametrize("decorate", ["init", "handler", "result_webhook"])
async def test_decorating_after_the_start_is_a_mistake(app: Potassium, decorate: str) -> None:
    """A handler that would never be served fails when it is decorated."""
    app.handler(echo)
    async with client(app):
        pass
    decorator = getattr(app, decorate)
    if decorate == "result_webhook":
        decorator = decorator(url="http://localhost:1/")
    with pytest.raises(UsageError, match="after the app had started"):
        decorator(lambda cache, json_in: None)


def test_optimize_notes_modules_in_order(app: Potassium) -> None:
    """It takes any number of modules, or what holds one as its ``model``, like a pipeline."""

    class Pipeline:
        def __init__(self, model: object) -> None:
            self.model = model

    first, second, third = (torch.nn.Linear(1, 1) for _ in range(3))
    app.optimize(first)
    app.optimize(second, Pipeline(third))
    assert app.optimized == [first, second, third]


@pytest.mark.parametrize("model", [None, "bert", object(), torch.ones(1)])
def test_optimize_refuses_what_is_no_module(app: Potassium, model: object) -> None:
    """It raises TypeError, and records nothing."""
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        app.optimize(torch.nn.Linear(1, 1), model)
    assert app.optimized == []


class Tag:
    """Pure ASGI middleware that records the path of every request."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(scope["path"])
        await self.app(scope, receive, send)


async def test_middleware_sees_every_call() -> None:
    """The fast path to the handlers does not bypass middleware."""
    seen: list[str] = []
    app = Potassium("test", middleware=[Middleware(Tag, seen=seen)])
    app.handler(echo)
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 200
        await http.get("/healthz")
    assert seen == ["/", "/healthz"]


async def test_routes_of_the_users_own_work() -> None:
    """A Potassium is a Starlette app; its routes answer beside the handlers."""

    async def page(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def broken(request: StarletteRequest) -> PlainTextResponse:
        raise ValueError("secret")

    app = Potassium("test", routes=[Route("/page", page), Route("/broken", broken)])
    app.handler(echo)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        response = await http.get("/page")
        assert (response.text, "X-Request-Id" in response.headers) == ("hello", True)
        response = await http.get("/broken")
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert "secret" not in response.text
        response = await http.get("/missing")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert response.json()["request_id"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("debug", "where"), [(False, "each at a path of its own"), (True, "at /, /embed")]
)
async def test_a_404_says_what_is_not_there(debug: bool, where: str) -> None:
    """The detail names the path and how to call; it lists existing paths only under ``debug``."""
    app = Potassium("test", debug=debug)
    app.handler("/embed")(app.handler(echo))
    async with client(app) as http:
        response = await http.post("/embedd?key=1", json={})
    expected = f"There is nothing at /embedd. Handlers answer POST, {where}."
    assert (response.status_code, response.json()["detail"]) == (404, expected)


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", "/", ["POST"]), ("PUT", "/healthz", ["GET", "HEAD"])]
)
async def test_a_405_says_what_is_needed(
    app: Potassium, method: str, path: str, allowed: list[str]
) -> None:
    """The detail names the methods that work, and so does ``Allow``."""
    app.handler(echo)
    async with client(app) as http:
        response = await http.request(method, path)
    expected = f"This path takes {' or '.join(allowed)}, not {method}."
    assert (response.status_code, response.json()["detail"]) == (405, expected)
    assert sorted(response.headers["Allow"].split(", ")) == allowed


async def test_a_405_names_the_methods_of_all_routes_of_the_path() -> None:
    """Not only those of the first one; a router within the app speaks for itself."""

    async def page(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("page")

    within = Mount("/in", routes=[Route("/jobs", page, methods=["PUT"])])
    app = Potassium("test", jobs=Jobs(path=None), routes=[Route("/", page), within])
    app.handler(echo)
    async with client(app) as http:
        allowed = [
            (await http.request("PATCH", path)).headers["Allow"]
            for path in ("/", "/jobs/a", "/in/jobs")
        ]
    assert allowed == ["GET, HEAD, POST", "DELETE, GET, HEAD", "PUT"]


async def test_a_404_of_the_users_own_keeps_its_detail() -> None:
    """A route's own detail stays as it is."""

    async def page(request: StarletteRequest) -> PlainTextResponse:
        raise HTTPException(404, "No such user.")

    async with client(Potassium("test", routes=[Route("/page", page)])) as http:
        assert (await http.get("/page")).json()["detail"] == "No such user."


async def test_a_request_over_the_body_limit_is_refused() -> None:
    """A body over Limits.body_size is 413, one of that size is served."""
    app = Potassium("test", limits=Limits(body_size=20))

    @app.handler
    def handler(cache: dict[str, Any], body: bytes) -> int:
        return len(body)

    async with client(app) as http:
        assert (await http.post("/", content=b"a" * 20)).json() == 20
        response = await http.post("/", content=b"a" * 21)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("options", [{"attempts": 2}, {"backoff": 0.5}])
async def test_attempts_are_for_background_jobs(app: Potassium, options: Any) -> None:
    """Without jobs there is nothing to retry, and the start fails with an error that says so."""
    app.handler("/train", **options)(lambda cache, json_in: json_in)
    with pytest.raises(UsageError, match=r"POST /train: attempts= and .*Potassium\(jobs=Jobs"):
        async with app.lifespan():
            pass


@pytest.mark.parametrize("decorate", ["handler", "background"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("attempts", value) for value in (0, -1, 1.5, "2", True)),
        *(("backoff", value) for value in (0, -1, "2", True, float("inf"))),
    ],
)
def test_attempts_that_cannot_be_fail_when_they_are_written(
    app: Potassium, decorate: str, option: str, value: Any
) -> None:
    """This holds for both decorators, and the message names the option."""
    with pytest.raises(UsageError, match=option):
        getattr(app, decorate)("/train", **{option: value})


@pytest.mark.parametrize("decorate", ["handler", "background"])
def test_an_option_that_there_is_not_is_named(app: Potassium, decorate: str) -> None:
    """The message also names the decorator, and the option that was meant."""
    with pytest.raises(UsageError, match=rf"@app\.{decorate}\(attempt=.*did you mean attempts"):
        getattr(app, decorate)("/train", attempt=3)


def test_a_background_handler_brings_jobs_with_it(app: Potassium) -> None:
    """The app then has the defaults of ``Jobs()``, and any handler may run in the background."""
    app.background(lambda cache, json_in: json_in)
    assert app._parts._plan.jobs == Jobs()
    app.handler("/other", attempts=2)(lambda cache, json_in: json_in)
    app._parts.check_complete()


def test_jobs_that_were_given_stay(app: Potassium) -> None:
    """A background handler does not change where they are kept, and adds no second page."""
    jobs = Jobs(path=None)
    app = Potassium("test", jobs=jobs)
    for path in ("/a", "/b"):
        app.background(path)(lambda cache, json_in: json_in)
    assert app._parts._plan.jobs is jobs
    assert [getattr(route, "name", "") for route in app.routes].count("jobs") == 1
