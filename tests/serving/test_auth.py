"""API keys."""

from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from potassium import ApiKeys, Potassium, UsageError
from potassium.serving.auth import Authentication
from potassium.testing import client

GOOD = [
    {"Authorization": "Bearer first"},
    {"Authorization": "bearer second"},
    {"Authorization": "Bearer  first "},
    {"X-Api-Key": "first"},
    {"X-Banana-Api-Key": "second"},
    {"Authorization": "Basic zzz", "X-Api-Key": "first"},
]
BAD: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer third"},
    {"Authorization": "Basic first"},
    {"Authorization": "first"},
    {"X-Api-Key": ""},
    {"X-Api-Key": "firs"},
    {"X-Api-Key": "FIRST"},
    {"X-Api-Key": "first,second"},
    {"Cookie": "first"},
]


def app_with_keys(**options: Any) -> Potassium:
    app = Potassium("test", api_keys=["first", "second"], **options)
    app.handler(lambda cache, json_in: {"ok": True})
    return app


@pytest.mark.parametrize("headers", GOOD, ids=str)
async def test_any_of_the_keys_will_do(headers: dict[str, str]) -> None:
    """A key is accepted in each of the headers."""
    async with client(app_with_keys()) as http:
        assert (await http.post("/", json={}, headers=headers)).json() == {"ok": True}


@pytest.mark.parametrize("headers", BAD, ids=str)
async def test_without_a_key_the_answer_is_401(headers: dict[str, str]) -> None:
    """A missing or wrong key is a 401 in the format of all errors, with the challenge."""
    async with client(app_with_keys()) as http:
        response = await http.post("/", json={}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["X-Request-Id"] == response.json()["request_id"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_k/warmup"])
async def test_load_balancers_need_no_key(path: str) -> None:
    """Health, readiness and warm-up need no key."""
    async with client(app_with_keys()) as http:
        assert (await http.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/_k/status", "/__status__", "/", "/nothing", "/healthz/"])
async def test_everything_else_needs_one(path: str) -> None:
    """The status pages need a key, and so do paths that do not exist."""
    async with client(app_with_keys()) as http:
        assert (await http.get(path)).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_k/status", "/other"])
async def test_a_route_of_the_apps_own_needs_a_key(path: str) -> None:
    """Also on the path of a probe, for a method that the probe does not have."""

    async def answer(_: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("secret")

    app = app_with_keys(routes=[Route(path, answer, methods=["POST"])])
    async with client(app) as http:
        statuses = [
            (await http.post(path, headers=headers)).status_code for headers in ({}, GOOD[0])
        ]
    assert statuses == [401, 200]


async def test_probes_answer_head_without_a_key() -> None:
    """Some load balancers ask so."""
    async with client(app_with_keys()) as http:
        assert (await http.head("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 200),
        ("GET", "/docs", 200),
        ("GET", "/docs/", 200),
        ("GET", "/docs/more", 401),
        ("GET", "/_k/status", 401),
    ],
)
async def test_an_app_may_open_paths(method: str, path: str, status: int) -> None:
    """Those that it names, for any method, and none below them."""
    keys = ApiKeys(["first"], open_paths=["/", "/docs"])
    docs = [
        Route(path, lambda _: PlainTextResponse("docs"))
        for path in ("/docs", "/docs/", "/docs/more")
    ]
    app = Potassium("test", api_keys=keys, routes=docs)
    app.handler(lambda cache, json_in: None)
    async with client(app) as http:
        assert (await http.request(method, path, json={})).status_code == status


async def test_the_host_header_does_not_open_a_door() -> None:
    """Whether a path is open depends on the ASGI path, whatever URL the headers suggest."""
    async with client(app_with_keys()) as http:
        headers = {"Host": "test/healthz?"}
        assert (await http.post("/", json={}, headers=headers)).status_code == 401


async def test_the_users_middleware_sees_what_is_refused() -> None:
    """It can log calls without a key, and adds its headers to the answer."""
    seen: list[int] = []

    class Watches:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def watch(message: Message) -> None:
                if message["type"] == "http.response.start":
                    seen.append(message["status"])
                await send(message)

            await self.app(scope, receive, watch)

    async with client(app_with_keys(middleware=[Middleware(Watches)])) as http:
        assert (await http.post("/", json={})).status_code == 401
        assert (await http.get("/_k/status")).status_code == 401
        assert (await http.get("/nowhere")).status_code == 401
        assert (await http.get("/healthz")).status_code == 200
    assert seen == [401, 401, 401, 200]


async def test_a_preflight_needs_no_key() -> None:
    """A browser never sends one with it; the app's CORS middleware answers, also the refusal."""
    cors = Middleware(CORSMiddleware, allow_origins=["https://a.test"], allow_methods=["POST"])
    origin = {"Origin": "https://a.test"}
    asks = {**origin, "Access-Control-Request-Method": "POST"}
    async with client(app_with_keys(middleware=[cors])) as http:
        preflight = await http.options("/", headers=asks)
        refused = await http.post("/", json={}, headers=origin)
    assert (preflight.status_code, refused.status_code) == (200, 401)
    for answer in (preflight, refused):
        assert answer.headers["access-control-allow-origin"] == "https://a.test"


async def test_a_preflight_that_no_middleware_answers_needs_a_key() -> None:
    """It is a call like any other then."""
    asks = {"Origin": "https://a.test", "Access-Control-Request-Method": "POST"}
    async with client(app_with_keys()) as http:
        assert (await http.options("/", headers=asks)).status_code == 401


async def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """POTASSIUM_API_KEYS holds the keys if the code gives none; the code takes precedence."""
    monkeypatch.setenv("POTASSIUM_API_KEYS", " third, fourth,")
    app = Potassium("test")
    app.handler(lambda cache, json_in: {"ok": True})
    for one, key, status in ((app, "fourth", 200), (app, "", 401), (app_with_keys(), "third", 401)):
        async with client(one) as http:
            response = await http.post("/", json={}, headers={"X-Api-Key": key})
            assert response.status_code == status


async def test_an_empty_list_means_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """api_keys=[] turns them off, whatever the environment says."""
    monkeypatch.setenv("POTASSIUM_API_KEYS", "third")
    app = Potassium("test", api_keys=[])
    app.handler(lambda cache, json_in: {"ok": True})
    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 200


@pytest.mark.parametrize("keys", ["one", [""], ["a\nb"], ["é"], [5], [" a"]])
def test_keys_that_cannot_be_sent_fail_when_they_are_written(keys: Any) -> None:
    """The message says what a key must be, and does not show it."""
    with pytest.raises(UsageError, match="api_keys"):
        Potassium("test", api_keys=keys)


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_a_websocket_without_a_key_is_closed(path: str) -> None:
    """The user's own routes cannot be reached over another protocol either."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: Any) -> Any:
        raise AssertionError

    scope = {"type": "websocket", "path": path, "headers": []}
    await Authentication(never, ApiKeys(["first"]))(scope, never, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
