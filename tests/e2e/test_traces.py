"""Traces that leave the process: by OTLP over HTTP, to a collector."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.collector import Collector, collecting
from e2e.server import free_port, serve, serve_source

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text("utf-8")

TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CLIENT}-01"

APP = """
from opentelemetry import trace
from potassium import Batch, Potassium

app = Potassium("server")


@app.handler("/embed", batch=Batch(max_size=2, max_delay=5))
def embed(cache, items):
    with trace.get_tracer("app").start_as_current_span("mine"):
        return items


@app.handler("/chat")
def chat(cache, json_in):
    yield "a"


if __name__ == "__main__":
    app.serve()
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def environment(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "POTASSIUM_TRACES": "1"}


def test_spans_reach_a_collector_with_the_set_up_that_the_page_shows(
    collector: Collector, tmp_path: Path
) -> None:
    """In the trace of the client, with the links of a batch; the last ones at the end."""
    (set_up,) = re.findall(r"```python\n(from opentelemetry import trace\n.*?)```", PAGE, re.DOTALL)
    with serve_source(set_up + APP, tmp_path, env=environment(collector)) as server:
        server.post("/embed", {"n": 1}, headers={"traceparent": PARENT})
        server.post("/chat", {})
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "raceback" not in server.log()
    spans = collector.wait_for(
        "POST /embed", "POST /chat", "batch /embed", "mine", "queue", "run", "finish", "stream"
    )
    call, batch = spans["POST /embed"], spans["batch /embed"]
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, CLIENT)
    assert [link.span_id for link in batch.links] == [call.span_id]
    assert spans["mine"].parent_span_id == batch.span_id
    assert spans["stream"].parent_span_id == spans["POST /chat"].span_id
    assert collector.services == {"server"}
    assert not [name for name in spans if "readyz" in name]


def test_the_command_of_opentelemetry_sets_all_of_it_up(
    collector: Collector, tmp_path: Path
) -> None:
    """With nothing in the app's code."""
    (tmp_path / "app.py").write_text(APP)
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    env = {
        **environment(collector),
        "OTEL_SERVICE_NAME": "instrumented",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "10",
    }
    starting = serve(
        [str(command), sys.executable, "app.py"],
        tmp_path / "server.log",
        port=free_port(),
        cwd=tmp_path,
        env=env,
    )
    with starting as server:
        server.post("/chat", {}, headers={"traceparent": PARENT})
        spans = collector.wait_for("POST /chat", "queue", "run", "stream")
    assert spans["POST /chat"].trace_id.hex() == TRACE
    assert collector.services == {"instrumented"}


def test_a_collector_that_is_away_holds_up_nothing(tmp_path: Path) -> None:
    """Calls are answered, and the server stops in time."""
    (set_up,) = re.findall(r"```python\n(from opentelemetry import trace\n.*?)```", PAGE, re.DOTALL)
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "POTASSIUM_TRACES": "1",
    }
    with serve_source(set_up + APP, tmp_path, env=env) as server:
        assert server.post("/chat", {}).text == "a"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
