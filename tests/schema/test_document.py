"""The document: what it names, how often it is made, and what it costs if nobody asks."""

import asyncio
import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from support.kitchen import app as kitchen
from support.schemas import operation, valid

from potassium import ApiKeys, Jobs, Limits, Potassium, Webhooks
from potassium.testing import client

PATH = "/openapi.json"
KEY = {"X-Api-Key": "secret"}


def echo(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    """Return what was sent.

    Nothing is lost.
    """
    return json_in


ODD: dict[str, Any] = {"x-odd": object(), "x-text": "\ud800"}


class Odd(BaseModel):
    """Its schema has values that are not JSON, and a text that is not UTF-8."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(ODD))
    score: float = math.nan
    limit: float = Field(math.inf, examples=[1.5, math.inf])
    anything: Any = len


class Broken(BaseModel):
    model_config = ConfigDict(json_schema_extra=lambda schema: schema["no such key"])
    a: int


class Unfinished(BaseModel):
    other: "Undefined"  # type: ignore[name-defined] # noqa: F821 - as if forgotten


def of_unfinished(cache: dict[str, Any], item: Unfinished) -> int:
    return 1


def of_odd(cache: dict[str, Any], item: Odd) -> Odd:
    return item


def of_broken(cache: dict[str, Any], item: Broken) -> int:
    return 1


class Model:
    def __call__(self, cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return json_in


@pytest.mark.parametrize(
    "app",
    [
        kitchen,
        Potassium(),
        Potassium(debug=True, api_keys=["a"]),
        Potassium(jobs=Jobs(path=None), webhooks=Webhooks(client_urls=True)),
    ],
    ids=["kitchen", "empty", "keys", "jobs"],
)
def test_the_document_is_valid(app: Potassium) -> None:
    """It is OpenAPI 3.1, whatever the app has."""
    assert valid(app)["openapi"].startswith("3.1")


def test_two_views_of_a_type_have_no_common_title() -> None:
    """Generators name classes by titles, and refuse two of one name."""
    schemas = kitchen.openapi()["components"]["schemas"]
    views = [name for name in schemas if name.startswith("Tree")]
    assert views == ["Tree-Input", "Tree-Output"]
    assert not [name for name in views if "title" in schemas[name]]


async def test_the_document_is_served(app: Potassium) -> None:
    """``GET /openapi.json`` shows what ``app.openapi()`` returns."""
    app.handler(echo)
    async with client(app) as http:
        shown = await http.get(PATH)
    assert shown.headers["Content-Type"] == "application/json"
    assert shown.json() == app.openapi()
    assert shown.json()["info"]["title"] == "test"


async def test_the_document_is_made_once(app: Potassium) -> None:
    """It is the same one each time, so that what the app changes in it is shown."""
    app.handler(echo)
    app.openapi()["info"]["version"] = "2.1"
    assert app.openapi() is app.openapi()
    async with client(app) as http:
        assert (await http.get(PATH)).json()["info"]["version"] == "2.1"


async def test_what_is_no_json_is_left_out(app: Potassium) -> None:
    """Models may have any defaults, and add anything to their schemas."""
    app.handler("/odd")(of_odd)
    shown = valid(app)["components"]["schemas"]["Odd"]
    assert "x-odd" not in shown
    assert "x-text" not in shown
    fields = shown["properties"]
    assert not [name for name in fields if "default" in fields[name]]
    assert fields["limit"]["examples"] == [1.5]
    json.dumps(app.openapi(), allow_nan=False)
    async with client(app) as http:
        assert (await http.get(PATH)).json() == app.openapi()


@pytest.mark.parametrize(
    ("function", "why"), [(of_broken, "'no such key'"), (of_unfinished, "is not fully defined")]
)
async def test_a_type_without_a_schema_is_anything(
    app: Potassium, caplog: pytest.LogCaptureFixture, function: Any, why: str
) -> None:
    """The log says why, and all others have theirs."""
    app.handler("/broken", methods=["GET", "POST"], example={"a": 1})(function)
    app.handler("/odd")(of_odd)
    shown = operation(app, "/broken")
    assert shown["requestBody"]["content"]["application/json"]["schema"] == {}
    assert shown["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "integer"
    assert "Odd" in valid(app)["components"]["schemas"]
    assert f"/broken: the schema of its validation is unknown: {why}" in caplog.text.replace(
        "`TypeAdapter[<class 'tests.schema.test_document.Unfinished'>]` ", ""
    )


async def test_the_document_is_made_off_the_event_loop(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds for an app with large models, in which the server answers others."""
    made, goes_on = app.openapi, threading.Event()
    calls = []

    def slowly() -> dict[str, Any]:
        calls.append(1)
        assert len(calls) == 1 or goes_on.is_set()  # one at a time
        assert goes_on.wait(10)
        return made()

    monkeypatch.setattr(app, "openapi", slowly)
    app.handler(echo)
    async with client(app) as http:
        shown = [asyncio.create_task(http.get(PATH)) for _ in range(3)]
        assert (await http.post("/", json={"a": 1})).json() == {"a": 1}
        goes_on.set()
        documents = await asyncio.gather(*shown)
    assert [one.json() for one in documents] == [made()] * 3


def test_a_handler_that_comes_later_is_in_the_document(app: Potassium) -> None:
    """A document that was made too early is made again."""
    app.handler("/a")(echo)
    assert "/b" not in app.openapi()["paths"]
    app.background("/b")(echo)
    assert {"/a", "/b", "/jobs"} <= app.openapi()["paths"].keys()


def test_nobody_pays_for_a_schema_that_is_not_asked_for() -> None:
    """Neither the import of the package nor a call imports the schema, or pydantic."""
    code = """
        import asyncio, sys
        from potassium import Potassium
        from potassium.testing import client

        app = Potassium()

        @app.handler(tags=["a"], example={"a": 1}, deprecated=True)
        def echo(cache, json_in: dict) -> dict:
            return json_in

        async def call():
            async with client(app) as http:
                assert (await http.post("/", json={})).status_code == 200
                loaded = {name for name in sys.modules if name.startswith("potassium.schema")}
                assert not loaded, loaded
                assert "pydantic" not in sys.modules
                assert (await http.get("/openapi.json")).status_code == 200

        asyncio.run(call())
        assert "potassium.schema.document" in sys.modules
    """
    lines = [line[8:] for line in code.splitlines()]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


@pytest.mark.parametrize(
    ("function", "name"),
    [(echo, "echo"), (partial(echo), "echo"), (Model(), "Model"), (lambda c, j: j, "lambda")],
    ids=["function", "partial", "instance", "lambda"],
)
def test_operation_ids_are_the_names_of_functions(app: Potassium, function: Any, name: str) -> None:
    """Those of instances are the names of their classes."""
    app.handler(function) if function is echo else app.handler("/")(function)
    assert operation(app)["operationId"] == name


def test_operation_ids_differ(app: Potassium) -> None:
    """The first of equal names keeps it, so that more handlers do not rename it."""
    for path in ("/a", "/b/c-d", "/e"):
        app.handler(path)(echo)

    @app.handler("/f")
    def get_status(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    paths = valid(app)["paths"]
    ids = [one["operationId"] for methods in paths.values() for one in methods.values()]
    assert ids[:4] == ["echo", "echo_b_c_d", "echo_e", "get_status"]
    assert paths["/_k/status"]["get"]["operationId"] == "get_status__k_status".replace("__", "_")
    assert len(set(ids)) == len(ids)


def test_docstrings_are_shown(app: Potassium) -> None:
    """The first line is the summary, the rest the description."""
    app.handler(echo)
    app.handler("/none")(Model())
    shown = operation(app)
    assert (shown["summary"], shown["description"]) == ("Return what was sent.", "Nothing is lost.")
    assert not {"summary", "description"} & operation(app, "/none").keys()


def test_options_are_shown(app: Potassium) -> None:
    """Tags, deprecation and examples."""
    app.handler("/a", tags=["x", "y"], example={"n": 1}, deprecated=True)(echo)
    app.handler("/b", examples={"one": {"n": 1}, "none": {}})(echo)
    shown, other = operation(app, "/a"), operation(app, "/b")
    assert (shown["tags"], shown["deprecated"]) == (["x", "y"], True)
    examples = shown["requestBody"]["content"]["application/json"]["examples"]
    assert examples == {"example": {"value": {"n": 1}}}
    examples = other["requestBody"]["content"]["application/json"]["examples"]
    assert examples == {"one": {"value": {"n": 1}}, "none": {"value": {}}}
    assert "deprecated" not in other


@pytest.mark.parametrize("route", [Route, Mount])
async def test_an_apps_own_route_comes_first(route: type[Route | Mount]) -> None:
    """What the app serves at this path is not disturbed, even if it was added later."""

    async def own(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("mine")

    app = Potassium("test")
    app.handler(PATH)(echo)
    app.router.routes.append(
        route(PATH, own) if route is Route else Mount("/", routes=[Route(PATH, own)])
    )
    async with client(app) as http:
        assert (await http.get(PATH)).text == "mine"
        assert (await http.post(PATH, json={"a": 1})).json() == {"a": 1}


async def test_a_handler_at_the_same_path_leaves_the_page(app: Potassium) -> None:
    """Handlers take POST, and the document is shown by GET."""
    app.handler(PATH)(echo)
    async with client(app) as http:
        assert (await http.get(PATH)).json()["paths"][PATH]["post"]["operationId"] == "echo"
        refused = await http.put(PATH)
    assert refused.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("root", "url"), [("/model/", "/model"), ("/my model", "/my%20model"), ("/", None)]
)
async def test_a_proxy_may_say_where_the_app_is(app: Potassium, root: str, url: str | None) -> None:
    """As a URL, to which paths are appended."""
    transport = httpx.ASGITransport(app, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        shown = (await http.get(PATH)).json()
    assert shown.get("servers") == (url and [{"url": url}])


async def test_a_mounted_app_says_where_it_is(app: Potassium) -> None:
    """Its paths are below that of the mount."""
    app.handler(echo)
    parent = Starlette(routes=[Mount("/model", app)], lifespan=app.lifespan)
    transport = httpx.ASGITransport(parent)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        shown = (await http.get(f"/model{PATH}")).json()
    assert shown["servers"] == [{"url": "/model"}]
    assert "servers" not in app.openapi()


async def test_an_app_may_say_itself_where_it_is(app: Potassium) -> None:
    """Proxies that change paths are unknown to the server."""
    app.handler(echo)
    app.openapi()["servers"] = [{"url": "https://example.com/v1"}]
    transport = httpx.ASGITransport(app, root_path="/model")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        shown = (await http.get(f"/model{PATH}")).json()
    assert shown["servers"] == [{"url": "https://example.com/v1"}]


async def test_the_document_requires_a_key_like_calls_do() -> None:
    """It is open only if the app says so."""
    closed = Potassium(api_keys=["secret"])
    opened = Potassium(api_keys=ApiKeys(["secret"], open_paths=[PATH]))
    for app, status in ((closed, 401), (opened, 200)):
        async with client(app) as http:
            assert (await http.get(PATH)).status_code == status
            assert (await http.get(PATH, headers=KEY)).status_code == 200


def test_keys_are_in_the_document() -> None:
    """Each way to send one, where none is required, and what a call without one gets."""
    app = Potassium(api_keys=ApiKeys(["secret"], open_paths=["/free"]))
    for path in ("/paid", "/free"):
        app.handler(path)(echo)
    document = valid(app)
    schemes = document["components"]["securitySchemes"]
    assert document["security"] == [{"bearer": []}, {"apiKey": []}, {"legacyApiKey": []}]
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer"}
    assert [one.get("name") for one in schemes.values()] == [None, "X-Api-Key", "X-Banana-Api-Key"]
    paid, free = operation(app, "/paid"), operation(app, "/free")
    assert "security" not in paid
    assert "401" in paid["responses"]
    assert free["security"] == operation(app, "/healthz", "get")["security"] == []
    assert "401" not in free["responses"]
    assert "401" in operation(app, "/_k/status", "get")["responses"]


def test_an_app_without_keys_mentions_none(app: Potassium) -> None:
    """Nobody is asked for what is not there."""
    app.handler(echo)
    document = valid(app)
    assert "security" not in document
    assert "securitySchemes" not in document["components"]
    assert "401" not in operation(app)["responses"]


@pytest.mark.parametrize(
    ("app", "names"),
    [
        (Potassium(), {"X-Request-Id", "Prefer"}),
        (Potassium(limits=Limits(priorities=True)), {"X-Request-Id", "Prefer", "X-Priority"}),
        (
            Potassium(jobs=Jobs(path=None)),
            {"X-Request-Id", "Prefer", "X-Priority", "Idempotency-Key"},
        ),
        (
            Potassium(jobs=Jobs(path=None), webhooks=Webhooks(client_urls=True)),
            {"X-Request-Id", "Prefer", "X-Priority", "Idempotency-Key", "Webhook-Url"},
        ),
    ],
    ids=["plain", "priorities", "jobs", "webhooks"],
)
def test_the_headers_that_a_call_understands_are_shown(app: Potassium, names: set[str]) -> None:
    """Those that the app ignores are left out."""
    app.handler(echo)
    assert {one["name"] for one in operation(app)["parameters"]} == names


def test_all_routes_of_jobs_are_shown() -> None:
    """With their methods."""
    app = Potassium(jobs=Jobs(path=None))
    app.handler(echo)
    paths = app.openapi()["paths"]
    served = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith("/jobs")
        for method in (route.methods or set()) - {"HEAD"}
    }
    shown = {(path, method) for path, methods in paths.items() for method in methods}
    assert served
    assert served == {one for one in shown if one[0].startswith("/jobs")}


def test_apps_without_jobs_have_no_routes_of_jobs(app: Potassium) -> None:
    """Neither their paths nor their documents are shown."""
    app.handler(echo)
    document = valid(app)
    assert not [path for path in document["paths"] if path.startswith("/jobs")]
    assert "Job" not in document["components"]["schemas"]
    assert "202" not in operation(app)["responses"]


def test_the_schema_says_how_a_handler_runs() -> None:
    """OpenAPI knows neither background jobs nor streams of one handler: an extension names them."""
    app = Potassium(jobs=Jobs(path=None))
    app.handler("/call")(echo)
    app.background("/job")(echo)

    @app.handler("/stream", output=Iterator[str])
    def stream(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    @app.background("/chunks")
    def chunks(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        yield "a"

    paths = valid(app)["paths"]
    handlers = ("/call", "/job", "/stream", "/chunks")
    assert {path: paths[path]["post"]["x-potassium"] for path in handlers} == {
        "/call": {"background": False, "stream": False},
        "/job": {"background": True, "stream": False},
        "/stream": {"background": False, "stream": True},
        "/chunks": {"background": True, "stream": True},
    }
