"""Traces, metrics and times of calls are the same in one process and with workers."""

import re
from collections.abc import Iterator

import pytest
from e2e.collector import Collector, collecting
from e2e.receiver import Receiver, receive
from e2e.server import Server, Start, wait_until
from prometheus_client.parser import text_string_to_metric_families as metrics_of
from support.metrics import Scrape
from workers.modes import MODES, served

TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CLIENT}-01"

APP = """
    import os

    import anyio
    from opentelemetry import baggage, trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from potassium import Batch, Jobs, Limits, Potassium, send_webhook

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("app")

    app = Potassium("observed", metrics=True, traces=True, jobs=Jobs(path=None))


    def mine(name):
        return tracer.start_as_current_span(name)


    def prepare(item):
        with mine("mine in prepare"):
            return item


    def finish(item):
        with mine("mine in finish"):
            return item


    @app.handler("/steps", prepare=prepare, finish=finish)
    def steps(cache, item):
        with mine("mine in a handler"):
            return baggage.get_baggage("tenant")


    @app.handler("/embed", batch=Batch(max_size=2, max_delay=5))
    def embed(cache, items):
        with mine("mine in a batch"):
            return items


    @app.handler("/chat")
    def chat(cache, item):
        with mine("mine in a stream"):
            yield "a"
            yield "b"


    @app.handler("/posts")
    def posts(cache, item):
        with mine("mine around a webhook"):
            send_webhook(os.environ["SINK"] + "/hook", {})


    @app.handler("/asks")
    def asks(cache, item):
        with mine("mine around a call"):
            return anyio.from_thread.run(app.call, "/front", {})


    @app.handler("/front")
    async def front(cache, item):
        with mine("mine in the front"):
            return 1


    @app.handler("/fails")
    def fails(cache, item):
        raise ValueError("no")


    @app.background("/job")
    def job(cache, item):
        with mine("mine in a job"):
            return 1


    if __name__ == "__main__":
        app.serve()
"""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    receiver: Receiver,
    collector: Collector,
) -> Iterator[Server]:
    env = {
        "SINK": receiver.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "10",
    }
    yield from served(APP, tmp_path_factory.mktemp("app"), request.param, env)


@pytest.fixture(autouse=True)
def _only_new_spans(collector: Collector) -> None:
    collector.forget()


TRACED = {"traceparent": PARENT, "baggage": "tenant=acme"}


def test_spans_of_a_handler_and_its_steps_are_children_of_the_call(
    server: Server, collector: Collector
) -> None:
    """In the trace of the client, whose baggage arrives too; beside those of the engine."""
    assert server.post("/steps", {}, headers=TRACED).json() == "acme"
    own = ["mine in prepare", "mine in a handler", "mine in finish"]
    spans = collector.wait_for("POST /steps", "prepare", "queue", "run", "finish", *own)
    call = spans["POST /steps"]
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, CLIENT)
    assert {one.trace_id.hex() for one in spans.values()} == {TRACE}
    del spans["POST /steps"]
    assert {one.parent_span_id for one in spans.values()} == {call.span_id}


def test_a_span_in_a_batch_is_a_child_of_the_batch(server: Server, collector: Collector) -> None:
    """Which is linked to its calls."""
    server.post("/embed", {"n": 1}, headers=TRACED)
    spans = collector.wait_for("POST /embed", "batch /embed", "mine in a batch", "run")
    call, batch = spans["POST /embed"], spans["batch /embed"]
    assert [link.span_id for link in batch.links] == [call.span_id]
    assert [link.span_id for link in spans["run"].links] == [batch.span_id]
    assert spans["mine in a batch"].parent_span_id == batch.span_id


def test_a_span_in_a_stream_is_a_child_of_the_call(server: Server, collector: Collector) -> None:
    """The stream has its span too."""
    assert server.post("/chat", {}, headers=TRACED).text == "ab"
    spans = collector.wait_for("POST /chat", "mine in a stream", "stream", "run")
    assert spans["mine in a stream"].parent_span_id == spans["POST /chat"].span_id


def test_a_webhook_belongs_to_the_span_that_posts_it(
    server: Server, collector: Collector, receiver: Receiver
) -> None:
    """Its receiver is told the trace."""
    server.post("/posts", {}, headers=TRACED)
    spans = collector.wait_for("POST", "mine around a webhook")
    assert spans["POST"].parent_span_id == spans["mine around a webhook"].span_id
    wait_until(lambda: receiver.all("/hook"), "a webhook")
    assert receiver.all("/hook")[-1].headers["traceparent"].split("-")[1] == TRACE


def test_a_call_from_a_handler_belongs_to_its_current_span(
    server: Server, collector: Collector
) -> None:
    """And what the handler that it calls does belongs to the call."""
    server.post("/asks", {}, headers=TRACED)
    spans = collector.wait_for("mine around a call", "call /front", "mine in the front")
    assert spans["call /front"].parent_span_id == spans["mine around a call"].span_id
    assert spans["mine in the front"].parent_span_id == spans["call /front"].span_id


def test_a_span_in_a_background_job_is_a_child_of_the_attempt(
    server: Server, collector: Collector
) -> None:
    """As its steps are."""
    server.post("/job", {}, headers=TRACED)
    spans = collector.wait_for("process /job", "mine in a job", "run")
    assert spans["mine in a job"].parent_span_id == spans["process /job"].span_id


def test_the_error_of_a_handler_is_recorded(server: Server, collector: Collector) -> None:
    """With its type and its traceback, which names the line in app.py."""
    server.post("/fails", {})
    spans = collector.wait_for("POST /fails", "run")
    (event,) = spans["run"].events
    found = {one.key: one.value.string_value for one in event.attributes}
    assert (found["exception.type"], found["exception.message"]) == ("ValueError", "no")
    assert 'raise ValueError("no")' in found["exception.stacktrace"]


def test_server_timing_names_the_same_phases(server: Server) -> None:
    """Each with its milliseconds."""
    timed = {}
    for path in ("/steps", "/embed", "/front"):
        response = server.post(path, {}, headers={"X-Timing": "1"})
        assert response.status_code == 200, server.log()
        timed[path] = re.findall(r"(\w+);dur=\d+\.\d{3}", response.headers["server-timing"])
    assert timed == {
        "/steps": ["queue", "prepare", "run", "finish"],
        "/embed": ["queue", "run", "finish"],
        "/front": ["queue", "run"],
    }


METRICS = """
    import time

    from potassium import Batch, Potassium

    app = Potassium("metrics", metrics=True)
    app.handler("/steps", prepare=lambda value: value, finish=lambda value: value)(
        lambda cache, value: time.sleep(0.02)
    )
    app.handler("/embed", batch=Batch(max_size=2, max_delay=5, cost=lambda item: 3))(
        lambda cache, items: items
    )


    @app.handler("/chat")
    def chat(cache, value):
        yield from "abc"


    @app.handler("/fails")
    def fails(cache, value):
        raise ValueError


    if __name__ == "__main__":
        app.serve()
"""


@pytest.mark.parametrize("workers", MODES)
def test_metrics_count_the_same(start: Start, workers: str) -> None:
    """Calls by outcome, their phases, the batches and the streams."""
    server = start(METRICS, env={"POTASSIUM_WORKERS": workers})
    for _ in range(2):
        server.post("/steps", {})
        server.post("/embed", {})
        server.post("/chat", {})
        server.post("/fails", {})

    def seen() -> Scrape:
        return Scrape(metrics_of(server.get("/metrics").text))

    calls = {
        ("/steps", "succeeded"): 2,
        ("/embed", "succeeded"): 2,
        ("/chat", "succeeded"): 2,
        ("/fails", "failed"): 2,
    }

    def counted() -> dict[tuple[str, ...], float]:
        values = seen().values("potassium_calls_total")
        return {key: value for key, value in values.items() if value}

    wait_until(lambda: sum(counted().values()) == 8, "all calls")
    assert counted() == calls
    found = seen()
    for name, handler, value in (
        ("prepare_duration_seconds_count", "/steps", 2),
        ("finish_duration_seconds_count", "/steps", 2),
        ("queue_duration_seconds_count", "/embed", 2),
        ("run_duration_seconds_count", "/fails", 2),
        ("run_duration_seconds_count", "/chat", 2),
        ("batch_size_count", "/embed", 2),
        ("batch_size_sum", "/embed", 2),
        ("batch_cost_sum", "/embed", 6),
        ("stream_chunks_total", "/chat", 6),
        ("stream_first_chunk_seconds_count", "/chat", 2),
        ("streams_open", "/chat", 0),
    ):
        assert found.value(f"potassium_{name}", handler=handler) == value, name
    assert 0.04 <= found.value("potassium_run_duration_seconds_sum", handler="/steps") < 1
