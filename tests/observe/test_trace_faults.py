"""What breaks in the making of spans is no business of the calls that they are about."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import propagate
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import Sampler
from support.traces import provided

from potassium import Batch, Jobs, Potassium
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
    assert len([one for one in caplog.records if one.name == "potassium.traces"]) == 1


async def test_an_app_with_the_api_alone_works() -> None:
    """Without an SDK, spans are of no effect, and the client's trace goes on."""
    app = Potassium("test", traces=True)

    @app.handler("/embed")
    def embed(cache: Value, json_in: Value) -> Value:
        return json_in

    async with client(app) as http:
        assert (await http.post("/embed", json={"n": 1})).json() == {"n": 1}
