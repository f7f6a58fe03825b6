"""Traces of requests: the span of a call, and the trace that it continues."""

import subprocess
import sys
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from support.asgi import scope
from support.traces import CLIENT, PARENT, TRACE, Recorded, mine, recording

from potassium import InvalidInput, Metrics, Potassium, Traces, UsageError
from potassium.http.exchange import SCOPE_KEY
from potassium.observe.tracing.attributes import of_request
from potassium.testing import client


def app_of(function: Any, path: str = "/embed", **options: Any) -> Potassium:
    app = Potassium("test", traces=True, **options)
    app.handler(path)(function)
    return app


def echo(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return json_in


def test_nothing_is_traced_or_imported_unless_asked_for() -> None:
    """Without traces, OpenTelemetry is not even imported."""
    code = (
        "import sys; from potassium import Potassium"
        "; app = Potassium(); app.handler(lambda cache, item: item)"
        "; app.build_middleware_stack()"
        "; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    assert ran.returncode == 0


def test_a_missing_library_is_named_with_what_to_type() -> None:
    """The extra has the library."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None"
        "; from potassium import Potassium; Potassium(traces=True)"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, check=False, timeout=30, capture_output=True, text=True)
    assert 'pip install "potassium[otel]"' in ran.stderr


async def test_traces_can_be_switched_on_by_the_environment(
    spans: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``POTASSIUM_TRACES=1``; what the app's code says counts more."""
    monkeypatch.setenv("POTASSIUM_TRACES", "1")
    for app in (Potassium(), Potassium(traces=False)):
        app.handler("/embed")(echo)
        async with client(app) as http:
            await http.post("/embed", json={})
    assert len(spans.named("POST /embed")) == 1


@pytest.mark.parametrize("has_provider", [False, True])
async def test_a_start_says_it_if_no_spans_are_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has_provider: bool
) -> None:
    """With what to write; ``init`` may still set up the SDK."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    app = app_of(echo)

    @app.init
    def init() -> dict[str, Any]:
        if has_provider:
            provider = TracerProvider(shutdown_on_exit=False)
            monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        return {}

    async with app.lifespan():
        pass
    said = [one.getMessage() for one in caplog.records if one.name == "potassium.traces"]
    assert len(said) == (not has_provider)
    assert all("set_tracer_provider" in line for line in said)


async def test_the_sdk_may_be_set_up_after_the_app_is_created() -> None:
    """As it is where the app is imported first."""
    app = app_of(echo)
    with recording() as spans:
        async with client(app) as http:
            await http.post("/embed", json={})
    assert len(spans.named("POST /embed")) == 1


@pytest.mark.parametrize("given", [1, "yes", {}])
def test_an_option_of_another_type_is_refused(given: Any) -> None:
    """The message shows the right form."""
    with pytest.raises(UsageError, match="traces=True"):
        Potassium(traces=given)
    with pytest.raises(UsageError, match="True or False"):
        Traces(health=given)


async def test_a_call_has_a_server_span_by_the_conventions(spans: Recorded) -> None:
    """With what is known of the request and the response."""
    async with client(app_of(echo)) as http:
        answer = await http.post(
            "http://models.test:8080/embed?secret=1",
            json={},
            headers={"User-Agent": "curl/8", "X-Request-Id": "r-1"},
        )
    assert answer.status_code == 200
    span = spans.one("POST /embed")
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "url.path": "/embed",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
        "server.address": "models.test",
        "server.port": 8080,
        "client.address": "127.0.0.1",
        "http.route": "/embed",
        "http.response.status_code": 200,
        "potassium.handler": "/embed",
        "potassium.request.id": "r-1",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert spans.children(span) == ["queue", "run"]


async def test_what_a_client_sends_is_cut(spans: Recorded) -> None:
    """A span has no limit of its own: heads of 64 KiB would fill the memory of the exporter."""
    long = "x" * 5000
    async with client(app_of(echo)) as http:
        await http.post(f"/{long}", headers={"User-Agent": long, "Host": long})
    found = spans.one("POST").attributes or {}
    for name in ("url.path", "user_agent.original", "server.address"):
        assert len(str(found[name])) == 1024


@pytest.mark.parametrize(
    ("peer", "shown"),
    [(("x" * 5000, 0), "x" * 1024), (("10.0.0.1", 7), "10.0.0.1"), (("", 0), None), (None, None)],
    ids=["long", "address", "unix socket", "unknown"],
)
def test_the_address_of_a_client_is_cut_as_well(
    peer: tuple[str, int] | None, shown: str | None
) -> None:
    """A proxy that is trusted may pass on whatever its client says of itself."""
    assert of_request({**scope(), "client": peer}).get("client.address") == shown


async def test_the_trace_of_the_client_goes_on(spans: Recorded) -> None:
    """``traceparent``, ``tracestate`` and ``baggage`` are read by the configured propagator."""
    seen: list[object] = []

    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        seen.append(baggage.get_baggage("tenant"))
        seen.append(trace.get_current_span().get_span_context().trace_state.get("vendor"))

    headers = {"traceparent": PARENT, "tracestate": "vendor=x", "baggage": "tenant=acme"}
    async with client(app_of(handler)) as http:
        await http.post("/embed", json={}, headers=headers)
    span = spans.one("POST /embed")
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == CLIENT
    assert {f"{one.context.trace_id:032x}" for one in spans.all() if one.context} == {TRACE}
    assert seen == ["acme", "x"]


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01", "ff-" + PARENT[3:]])
async def test_a_header_that_names_no_trace_begins_a_new_one(spans: Recorded, header: str) -> None:
    """Whatever a client sends, the call goes through."""
    async with client(app_of(echo)) as http:
        answer = await http.post("/embed", json={}, headers={"traceparent": header})
    assert answer.status_code == 200
    assert spans.one("POST /embed").parent is None


async def test_below_another_instrumentation_a_request_is_a_child(spans: Recorded) -> None:
    """There is one SERVER span for each request, however the app is mounted."""

    class Instrumented:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            with mine("outer"):
                await self.app(scope, receive, send)

    app = app_of(echo)
    transport = httpx.ASGITransport(Instrumented(app), root_path="/model")
    async with app.lifespan(), httpx.AsyncClient(transport=transport) as http:
        await http.post("http://models.test/model/embed", json={})
    span = spans.one("POST /model/embed")
    assert span.kind is SpanKind.INTERNAL
    assert spans.children(spans.one("outer")) == ["POST /model/embed"]
    assert (span.attributes or {})["potassium.handler"] == "/embed"


def unknown(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
    raise HTTPException(404, "no such thing")


def invalid(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
    raise InvalidInput("too long")


@pytest.mark.parametrize(
    ("function", "status", "code"),
    [(unknown, 404, "not_found"), (invalid, 422, "invalid_input")],
)
async def test_what_a_client_does_wrong_is_no_error_of_the_server(
    spans: Recorded, function: Any, status: int, code: str
) -> None:
    """Spans of 4xx have no status, and nothing is recorded; the code is said."""
    async with client(app_of(function)) as http:
        assert (await http.post("/embed", json={})).status_code == status
    span = spans.one("POST /embed")
    assert (span.attributes or {})["potassium.code"] == code
    for one in spans.all():
        assert one.status.status_code is StatusCode.UNSET
        assert one.events == ()
        assert "error.type" not in (one.attributes or {})


async def test_what_a_handler_raises_is_an_error(spans: Recorded) -> None:
    """The exception is recorded with the run, and the code of the answer with the call."""

    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise ValueError("secret sauce")

    async with client(app_of(handler)) as http:
        assert (await http.post("/embed", json={})).status_code == 500
    call, run = spans.one("POST /embed"), spans.one("run")
    assert call.status.status_code is run.status.status_code is StatusCode.ERROR
    assert (call.attributes or {})["error.type"] == "handler_error"
    assert (run.attributes or {})["error.type"] == "ValueError"
    (event,) = run.events
    assert (event.attributes or {})["exception.message"] == "secret sauce"
    assert call.events == ()


async def test_requests_that_reach_no_handler_are_traced(spans: Recorded) -> None:
    """Refused, unknown, or for a route of the app's own."""

    async def own(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["name"])

    routes = [Route("/own/{name}", own), Mount("/more", routes=[Route("/{name}", own)])]
    app = app_of(echo, routes=routes, api_keys=["k"])
    async with client(app) as http:
        await http.post("/embed", json={})
        http.headers["X-Api-Key"] = "k"
        await http.get("/own/a")
        await http.get("/more/b")
        await http.get("/embed")
        await http.request("BREW", "/nothing/../there")
    named = {span.name: dict(span.attributes or {}) for span in spans.all()}
    assert named.keys() == {
        "POST /embed",
        "GET /own/{name}",
        "GET /more/{name}",
        "GET /embed",
        "HTTP",
    }
    assert named["POST /embed"]["potassium.code"] == "unauthorized"
    assert named["HTTP"]["http.request.method"] == "_OTHER"
    assert named["HTTP"]["http.request.method_original"] == "BREW"


async def test_what_escapes_the_app_is_recorded(spans: Recorded) -> None:
    """As its middleware, or a route, has raised it."""

    class Breaks:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                raise KeyError("tenant")
            await self.app(scope, receive, send)

    async with client(app_of(echo, middleware=[Middleware(Breaks)])) as http:
        with pytest.raises(KeyError):
            await http.post("/embed", json={})
    span = spans.one("POST /embed")
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]
    assert (span.attributes or {})["error.type"] == "KeyError"


QUIET = ("/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup", "/metrics", "/docs")


@pytest.mark.parametrize("metrics", [True, Metrics(needs_key=True)])
async def test_health_metrics_and_the_page_are_not_traced(spans: Recorded, metrics: Any) -> None:
    """They would bury the calls."""
    app = app_of(echo, "/", metrics=metrics)
    async with client(app) as http:
        for path in (*QUIET, "/docs/", "/docs/assets/x.js"):
            await http.get(path)
        await http.get("/", headers={"Accept": "text/html"})
        await http.post("/_k/warmup")
    assert spans.all() == []


async def test_they_are_traced_if_asked_for(spans: Recorded) -> None:
    """``Traces(health=True)``."""
    app = Potassium("test", traces=Traces(health=True))
    app.handler("/embed")(echo)
    async with client(app) as http:
        await http.get("/healthz")
    assert [span.name for span in spans.all()] == ["GET /healthz"]


async def test_a_sampler_that_drops_costs_no_spans() -> None:
    """Nothing is made of the steps, but the trace goes on, with the decision."""
    seen: list[Any] = []

    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        seen.append(trace.get_current_span().get_span_context())
        with mine():
            pass

    with recording(ParentBased(ALWAYS_OFF)) as spans:
        app = app_of(handler)
        async with client(app) as http:
            await http.post("/embed", json={})
            await http.post("/embed", json={}, headers={"traceparent": PARENT[:-1] + "0"})
        assert spans.all() == []
    assert [context.trace_flags.sampled for context in seen] == [False, False]
    assert f"{seen[1].trace_id:032x}" == TRACE


async def test_the_id_of_the_trace_is_known_to_whoever_logs_the_request(spans: Recorded) -> None:
    """On the record of the exchange, in the form that logs have it in."""
    seen: list[Any] = []

    class Looks:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                seen.append(scope[SCOPE_KEY].trace_id)
            await self.app(scope, receive, send)

    async with client(app_of(echo, middleware=[Middleware(Looks)])) as http:
        await http.post("/embed", json={}, headers={"traceparent": PARENT})
        await http.get("/healthz")
    assert seen == [TRACE, ""]


async def test_keys_in_requests_are_not_recorded(spans: Recorded) -> None:
    """Neither those in headers nor those in the query."""
    app = app_of(echo, api_keys=["k-secret"])
    async with client(app) as http:
        await http.post("/embed?key=k-secret", json={}, headers={"X-Api-Key": "k-secret"})
    assert "k-secret" not in "".join(span.to_json() for span in spans.all())
