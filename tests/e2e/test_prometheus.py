"""A real Prometheus scrapes a real server."""

import json
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from e2e.server import Server, Start, wait_until
from support.metrics import prometheus

ROOT = Path(__file__).parent.parent.parent

SOURCE = """
from potassium import Jobs, Potassium

app = Potassium("server", metrics=True, jobs=Jobs(path=None))

@app.init
def init():
    return {"model": 1}

@app.handler
def handler(cache, json_in):
    if json_in.get("fail"):
        raise ValueError
    return json_in

@app.handler("/stream")
def stream(cache, json_in):
    yield from "abc"

@app.background("/job")
def job(cache, json_in):
    return json_in

app.serve()
"""


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False)

    def ask(self, path: str, **query: str) -> Any:
        try:
            answer = self._http.get(path, params=query)
        except httpx.TransportError:  # it does not listen yet
            return None
        if answer.status_code == 503:  # it listens, and still reads its data
            return None
        return answer.json().get("data")

    def value(self, query: str) -> float | None:
        """Return the value of a query that has one; None if it has none."""
        found = self.ask("/query", query=query)
        results = found["result"] if found else []
        return float(results[0]["value"][1]) if results else None

    def close(self) -> None:
        self._http.close()


@contextmanager
def scraping(server: Server, folder: Path, port: int) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes ``server`` once a second, with our alerts."""
    config = folder / "prometheus.yaml"
    rules = ROOT / "deploy" / "prometheus" / "potassium.rules.yaml"
    config.write_text(
        textwrap.dedent(f"""
        global: {{scrape_interval: 1s, evaluation_interval: 1s}}
        rule_files: [{json.dumps(str(rules))}]
        scrape_configs:
          - job_name: potassium
            static_configs: [{{targets: ["127.0.0.1:{server.port}"]}}]
        """)
    )
    command = [
        prometheus(),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    running = Prometheus(port)
    try:
        yield running
    finally:
        running.close()
        process.terminate()
        process.wait(10)


def test_prometheus_scrapes_a_server(
    start: Start, tmp_path: Path, free_port: int, name: str
) -> None:
    """It understands everything, exemplars included, and evaluates our alerts on it."""
    prometheus()  # before anything is started: the test is skipped without it
    server = start(SOURCE)
    with scraping(server, tmp_path, free_port) as seen:
        for _ in range(3):
            server.post("/", json={}, headers={"X-Request-Id": name})
        server.post("/", json={"fail": True})
        server.post("/stream", json={})
        server.post("/job", json={}, headers={"Prefer": "wait=5"})
        server.post("/", content=b"{")
        with server.connect() as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            connection.recv(1000)

        def holds(query: str, value: float) -> Callable[[], bool]:
            return lambda: seen.value(query) == value

        for query, value in (
            ('up{job="potassium"}', 1),
            ('potassium_ready{app="server"}', 1),
            ('potassium_requests_total{handler="/",status="200"}', 3),
            ('potassium_requests_total{code="handler_error"}', 1),
            ('potassium_refusals_total{reason="malformed_json"}', 1),
            ('potassium_refusals_total{handler="other",reason="malformed_request"}', 1),
            ('potassium_stream_chunks_total{handler="/stream"}', 3),
            ('potassium_jobs{handler="/job",state="succeeded"}', 1),
            ('potassium_request_duration_seconds_count{handler="/stream"}', 1),
            ("count(potassium_event_loop_lag_seconds_bucket)", 19),
        ):
            wait_until(holds(query, value), query)
        assert (seen.value('potassium_gpu_thread_busy_seconds_total{app="server"}') or 0) > 0
        dropped = "scrape_samples_scraped - scrape_samples_post_metric_relabeling"
        assert seen.value(dropped) == 0
        (target,) = seen.ask("/targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")

        def exemplars() -> list[str]:
            found = seen.ask(
                "/query_exemplars",
                query='potassium_request_duration_seconds_bucket{handler="/"}',
                start="0",
                end="9999999999",
            )
            return [
                one["labels"].get("request_id") for series in found for one in series["exemplars"]
            ]

        wait_until(lambda: name in exemplars(), "an exemplar leads to a request")

        def rules(what: str) -> set[str]:
            (group,) = seen.ask("/rules")["groups"]
            return {rule[what] for rule in group["rules"]}

        wait_until(lambda: "unknown" not in rules("health"), "the rules were evaluated")
        assert rules("health") == {"ok"}
        assert rules("state") == {"inactive"}
