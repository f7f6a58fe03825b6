"""What breaks in the making of spans is no business of the calls that they are about."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import Sampler
from support.traces import PARENT, TRACE, Recorded, provided

from potassium import Batch, Jobs, Potassium
from potassium.observe.tracing import requests
from potassium.observe.tracing.call import Call
from potassium.testing import client

Value = dict[str, Any]


class Broken(SpanProcessor):
    """Raises whenever a span begins, or ends."""

    def __init__(self, *, at_start: bool) -> None:
        self.at_start = at_start

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.at_start:
            raise RuntimeError("the processor broke")

    def on_end(self, span: Any) -> None:
        if not self.at_start:
            raise RuntimeError("the processor broke")


class BrokenExporter(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        raise RuntimeError("the exporter broke")


class BrokenSampler(Sampler):
    def should_sample(self, *args: Any, **options: Any) -> Any:
        raise RuntimeError("the sampler broke")

    def get_description(self) -> str:
        return "broken"


def with_processor(processor: SpanProcessor) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


PROVIDERS: list[tuple[Callable[[], TracerProvider], int]] = [
    (lambda: with_processor(Broken(at_start=True)), 1),
    (lambda: with_processor(Broken(at_start=False)), 1),
    (lambda: TracerProvider(sampler=BrokenSampler(), shutdown_on_exit=False), 1),
    # The SDK itself says what becomes of these.
    (lambda: with_processor(SimpleSpanProcessor(BrokenExporter())), 0),
    (lambda: with_processor(BatchSpanProcessor(BrokenExporter())), 0),
]


@pytest.mark.parametrize(
    ("make", "lines"),
    PROVIDERS,
    ids=["at the start", "at the end", "sampler", "exporter", "exporter in batches"],
)
async def test_calls_go_through_whatever_breaks_in_traces(
    make: Callable[[], TracerProvider], lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In requests, batches, streams, jobs and calls in the process; it is said once."""
    provider = make()
    with provided(provider):
        await use_all()
    provider.shutdown()
    said = [one for one in caplog.records if one.name == "potassium.traces"]
    assert len(said) == lines
    assert all(one.levelno == logging.ERROR and one.exc_info for one in said)


async def use_all() -> None:
    app = Potassium("test", traces=True, jobs=Jobs(path=None))

    @app.handler("/embed", batch=Batch(max_size=4), prepare=lambda item: item)
    def embed(cache: Value, items: list[Any]) -> list[Any]:
        return items

    @app.handler("/chat")
    def chat(cache: Value, json_in: Value) -> Iterator[str]:
        yield "a"
        yield "b"

    @app.background("/train")
    def train(cache: Value, json_in: Value) -> int:
        return 3

    async with client(app) as http:
        for _ in range(2):
            assert (await http.post("/embed", json={"n": 1})).json() == {"n": 1}
            assert (await http.post("/chat", json={})).text == "ab"
            waits = {"Prefer": "wait=5"}
            assert (await http.post("/train", json={}, headers=waits)).json() == 3
            assert await app.call("/embed", {"n": 1}) == {"n": 1}
            assert [chunk async for chunk in app.stream("/chat", {})] == ["a", "b"]
            await app.submit("/train", {})


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "message"),
    [(lambda: ValueError("no file \udcff"), "no file \\udcff"), (Mute, "")],
    ids=["half a pair", "no words"],
)
async def test_what_is_recorded_of_an_exception_can_be_exported(
    spans: Recorded, error: Callable[[], Exception], message: str
) -> None:
    """Otherwise an exporter would drop all spans of the same batch."""
    app = Potassium("test", traces=True)

    @app.handler("/embed")
    def embed(cache: Value, json_in: Value) -> None:
        raise error()

    async with client(app) as http:
        assert (await http.post("/embed", json={})).status_code == 500
    run = spans.one("run")
    (event,) = run.events
    found = dict(event.attributes or {})
    assert found["exception.message"] == run.status.description == message
    assert "in embed" in str(found["exception.stacktrace"])
    encode_spans(spans.all()).SerializeToString()


async def test_what_is_recorded_of_an_exception_is_bounded(spans: Recorded) -> None:
    """A client may have sent its text; receivers of OTLP refuse spans of more than 4 MiB."""
    app = Potassium("test", traces=True)

    @app.handler("/embed")
    def embed(cache: Value, json_in: Value) -> None:
        raise KeyError("x" * 5_000_000)

    async with client(app) as http:
        assert (await http.post("/embed", json={})).status_code == 500
    run = spans.one("run")
    (event,) = run.events
    found = dict(event.attributes or {})
    assert len(str(found["exception.message"])) == len(run.status.description or "") == 1024
    assert len(str(found["exception.stacktrace"])) < 60_000
    assert "in embed" in str(found["exception.stacktrace"])


async def test_a_propagator_that_breaks_costs_the_trace_and_not_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A webhook is posted, a job is stored, without headers of a trace."""

    class BrokenPropagator:
        fields = frozenset({"traceparent"})

        def extract(self, *args: Any, **options: Any) -> Any:
            raise RuntimeError("the propagator broke")

        inject = extract

    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", BrokenPropagator())
    app = Potassium("test", traces=True, jobs=Jobs(path=None))

    @app.background("/train")
    def train(cache: Value, json_in: Value) -> int:
        return 3

    async with client(app) as http:
        answer = await http.post("/train", json={}, headers={"Prefer": "wait=5"})
        assert answer.json() == 3
    said = [one.levelname for one in caplog.records if one.name == "potassium.traces"]
    assert said.count("ERROR") == 1


async def test_with_the_api_alone_the_clients_trace_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without an SDK, spans are of no effect, and nothing is looked up for them."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(requests, "of_request", lambda _: pytest.fail("nobody sees this"))
    app = Potassium("test", traces=True)
    seen: list[tuple[str, object]] = []

    @app.handler("/embed")
    def embed(cache: Value, json_in: Value) -> Value:
        span = trace.get_current_span().get_span_context()
        seen.append((trace.format_trace_id(span.trace_id), baggage.get_baggage("tenant")))
        return json_in

    async with client(app) as http:
        headers = {"traceparent": PARENT, "baggage": "tenant=acme"}
        for sent in ({}, headers):
            answer = await http.post("/embed", json={"n": 1}, headers=sent)
            assert answer.json() == {"n": 1}
    assert seen == [("0" * 32, None), (TRACE, "acme")]


async def test_with_the_api_alone_a_call_without_a_trace_costs_no_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is nothing to pass on."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(Call, "enter", lambda _: pytest.fail("nobody needs this"))
    app = Potassium("test", traces=True)
    app.handler(lambda cache, json_in: json_in)
    async with client(app) as http:
        assert (await http.post("/", json={"n": 1})).json() == {"n": 1}
