"""``GET /metrics``: its formats, its names, and what else is on it."""

import asyncio
import gzip
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import prometheus_client
import pytest
from prometheus_client.metrics_core import Metric
from starlette.applications import Starlette
from starlette.routing import Mount
from support.metrics import OPEN_METRICS, promtool, scrape

from potassium import Batch, Jobs, Potassium
from potassium.engine import WorkerReport
from potassium.http.exchange import Exchange
from potassium.observe.metrics.page import _version
from potassium.observe.metrics.requests import RequestMetrics
from potassium.observe.metrics.shown import Shown
from potassium.observe.metrics.worker_families import worker_families
from potassium.testing import client

ROOT = Path(__file__).parent.parent.parent.parent
ROW = re.compile(r"^\| `(potassium_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
REQUEST_ID = "r-1"


def cuda() -> SimpleNamespace:
    """Return a torch that has one device."""
    device = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        memory_stats=lambda _: {"allocated_bytes.all.current": 5},
        get_device_properties=lambda _: SimpleNamespace(total_memory=80),
    )
    return SimpleNamespace(cuda=device)


def whole_app() -> Potassium:
    """Return an app that has everything that is measured."""
    app = Potassium("server", metrics=True, jobs=Jobs(path=None))
    app.handler(lambda cache, json_in: json_in)

    @app.handler("/batch", batch=Batch(max_size=4, cost=lambda item: item["n"], max_cost=20))
    def batch(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
        return items

    @app.handler("/stream")
    def stream(cache: dict[str, Any], json_in: Any) -> Iterator[str]:
        yield "a"

    app.background("/job")(lambda cache, json_in: json_in)
    return app


async def use(http: httpx.AsyncClient) -> None:
    """Make calls of everything."""
    headers = {"Prefer": "wait=5", "X-Request-Id": REQUEST_ID}
    for path, body in (("/", {}), ("/batch", {"n": 1}), ("/stream", {}), ("/job", {})):
        assert (await http.post(path, json=body, headers=headers)).status_code == 200, path
    assert (await http.post("/", content=b"{", headers=headers)).status_code == 415


def described(families: list[Metric]) -> dict[str, tuple[str, set[str]]]:
    """Return the type and the labels of each metric of ours, by its full name."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in families:
        if family.name.startswith("potassium_"):
            labels = {label for sample in family.samples for label in sample.labels}
            suffix = "_total" if family.type == "counter" else ""
            found[family.name + suffix] = (family.type, labels - {"app", "le"})
    return found


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return the type and the labels of each metric that the table in docs/metrics.md has."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(page)
    }


def of_workers(name: str) -> bool:
    return name.startswith("potassium_worker_")


async def test_the_page_of_the_documentation_has_every_metric_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The table in docs/metrics.md has the names, types and labels that are exposed."""
    async with client(whole_app()) as http:
        await use(http)
        monkeypatch.setitem(sys.modules, "torch", cuda())
        shown = described((await scrape(http)).families)
    assert shown == {
        name: kind for name, kind in documented().items() if not of_workers(name)
    }  # without workers, nothing of theirs is shown


def test_the_page_of_the_documentation_has_every_metric_of_workers() -> None:
    """The same table has those, too."""
    report = WorkerReport(
        name="cuda:0",
        device="cuda:0",
        state="ready",
        states=("ready",),
        activity=None,
        ends={"killed": 0},
        load_seconds=1.0,
        memory=1,
    )
    shown = described(list(worker_families([report], Shown("server"))))
    assert shown == {name: kind for name, kind in documented().items() if of_workers(name)}


@pytest.mark.parametrize("accept", ["", OPEN_METRICS])
async def test_every_sample_of_ours_says_which_app_it_is_of(accept: str) -> None:
    """In either format; those of the process have no such label."""
    async with client(whole_app()) as http:
        await use(http)
        seen = await scrape(http, accept=accept)
    samples = [sample for family in seen.families for sample in family.samples]
    apps = {one.labels.get("app") for one in samples if one.name.startswith("potassium_")}
    assert apps == {"server"}
    assert seen.value("process_resident_memory_bytes") > 0
    assert seen.values("python_info")


async def test_promtool_has_no_complaint() -> None:
    """Names, units, types and help texts are as Prometheus wants them."""
    async with client(whole_app()) as http:
        await use(http)
        text = (await http.get("/metrics")).text
    promtool("check", "metrics", stdin=text)


async def test_open_metrics_have_exemplars_with_the_request_id() -> None:
    """A bucket leads to the log lines of a request; plain text has no exemplars."""
    async with client(whole_app()) as http:
        await use(http)
        seen = await scrape(http, accept=OPEN_METRICS)
        exemplars = [
            sample.exemplar.labels
            for family in seen.families
            for sample in family.samples
            if sample.exemplar is not None and sample.labels["handler"] == "/"
        ]
        assert {"request_id": REQUEST_ID} in exemplars
        plain = await http.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert REQUEST_ID not in plain.text


def exemplar_of(request_id: str, trace_id: str) -> Any:
    """Return the exemplar of one request."""
    exchange = Exchange({"type": "http", "potassium.request_id": request_id}, None, 1.0)  # type: ignore[arg-type]
    exchange.ended_at, exchange.status, exchange.trace_id = 1.5, 200, trace_id
    requests = RequestMetrics()
    requests.began(exchange)
    requests.ended(exchange)
    samples = [one for family in requests.families(Shown("test")) for one in family.samples]
    return next((one.exemplar.labels for one in samples if one.exemplar), None)


def test_an_exemplar_has_the_trace_of_its_request_if_there_is_one() -> None:
    """The trace comes first: both may not fit, as a client chooses the id of its request."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert exemplar_of("r-1", trace) == {"trace_id": trace, "request_id": "r-1"}
    assert exemplar_of("r" * 128, trace) == {"trace_id": trace}
    assert exemplar_of("r" * 128, "") is None


def test_exemplars_are_as_new_as_the_last_scrape() -> None:
    """The first request after a scrape replaces the one that was shown; the others cost nothing."""
    requests = RequestMetrics()
    shown = []
    for name in ("a", "b", "c", "d"):
        exchange = Exchange({"type": "http", "potassium.request_id": name}, None, 1.0)  # type: ignore[arg-type]
        exchange.ended_at, exchange.status = 1.5, 200
        requests.began(exchange)
        requests.ended(exchange)
        if name in ("b", "d"):
            samples = [one for family in requests.families(Shown("x")) for one in family.samples]
            shown += [one.exemplar.labels["request_id"] for one in samples if one.exemplar]
    assert shown == ["a", "c"]


async def test_an_answer_is_compressed_where_that_is_accepted() -> None:
    """Prometheus accepts gzip; the content is the same."""
    async with client(whole_app()) as http:
        plain = await http.get("/metrics", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        async with http.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert b"potassium_ready" in gzip.decompress(raw)
    assert len(raw) < len(plain.content) / 5


@pytest.mark.parametrize("accepted", ["gzip;q=0", "identity", "gzip; q=0, identity", "xgzip"])
async def test_an_answer_is_not_compressed_where_that_is_not_accepted(accepted: str) -> None:
    """A weight of 0 means that it is not."""
    async with client(whole_app()) as http:
        answer = await http.get("/metrics", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert "potassium_ready" in answer.text


@pytest.mark.parametrize("version", ["abc", "1.x", "", "1.0.0;version=x"])
async def test_a_version_that_does_not_exist_is_answered_all_the_same(version: str) -> None:
    """Anybody can ask for one: that must be neither an error nor a traceback on the log."""
    async with client(whole_app()) as http:
        asked = f"application/openmetrics-text; version={version}"
        answer = await http.get("/metrics", headers={"Accept": asked})
    assert answer.status_code == 200
    assert "potassium_ready" in answer.text


async def test_the_page_answers_get_and_head() -> None:
    """Anything else is 405."""
    async with client(whole_app()) as http:
        assert (await http.head("/metrics")).status_code == 200
        refused = await http.post("/metrics")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_a_scrape_needs_no_thread_that_the_app_may_hold() -> None:
    """Handlers may keep all worker threads of anyio busy, and that is when somebody looks."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    held = int(limiter.available_tokens)
    takers = [object() for _ in range(held)]
    for taker in takers:
        limiter.acquire_on_behalf_of_nowait(taker)
    try:
        async with asyncio.timeout(10), client(whole_app()) as http:
            assert (await http.get("/metrics")).status_code == 200
    finally:
        for taker in takers:
            limiter.release_on_behalf_of(taker)


async def test_two_mounted_apps_are_told_apart() -> None:
    """Each has a page of its own, with its name on every sample."""
    apps = {name: Potassium(name, metrics=True) for name in ("chat", "embed")}
    for app in apps.values():
        app.handler(lambda cache, json_in: json_in)
    parent = Starlette(routes=[Mount(f"/{name}", app) for name, app in apps.items()])
    transport = httpx.ASGITransport(parent)
    async with (
        apps["chat"].lifespan(),
        apps["embed"].lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
    ):
        for _ in range(3):
            await http.post("/chat/", json={})
        seen = {name: await scrape(http, f"/{name}/metrics") for name in apps}
    requests = "potassium_requests_total"
    assert seen["chat"].value(requests, app="chat", handler="/", status="200") == 3
    assert seen["embed"].value(requests, app="embed", handler="/", status="200") == 0
    assert seen["embed"].values(requests, app="chat") == {}


async def test_metrics_that_the_app_defines_are_on_the_page() -> None:
    """What goes into the default registry of prometheus_client is shown, from any thread."""
    tokens = prometheus_client.Counter("test_tokens", "Tokens that were made.")
    app = Potassium("test", metrics=True)

    @app.handler
    def handler(cache: dict[str, Any], json_in: Any) -> None:
        tokens.inc(7)

    try:
        async with client(app) as http:
            await http.post("/", json={})
            assert (await scrape(http)).value("test_tokens_total") == 7
    finally:
        prometheus_client.REGISTRY.unregister(tokens)


async def test_an_app_that_is_not_installed_has_metrics_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container into which only the sources were copied."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("potassium.observe.metrics.page.version", missing)
    app = Potassium("server", metrics=True)
    app.handler(lambda cache, json_in: json_in)
    _version.cache_clear()
    try:
        async with client(app) as http:
            text = (await http.get("/metrics")).text
    finally:
        _version.cache_clear()
    assert 'potassium_build_info{app="server",version="unknown"} 1.0' in text
