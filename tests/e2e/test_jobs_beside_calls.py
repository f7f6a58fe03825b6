"""Direct calls and background jobs on one GPU thread; and apps without jobs."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest
from e2e.jobs import IMPORTS, SERVE, end_of, post, submit
from e2e.server import Server, Start, serve_source, wait_until
from e2e.wire import call, events

BACKLOG = 300  # jobs
STEP = 0.02  # seconds for which each call and each job holds the GPU thread
SOURCE = (
    IMPORTS
    + f"""
app = Potassium("server", jobs=Jobs(), limits=Limits(queue_size=64, priorities=True))


@app.handler("/call")
def direct(cache, json_in):
    time.sleep({STEP})
    note(f"call {{json_in['number']}}")
    return json_in


@app.background("/job")
def job(cache, json_in):
    time.sleep({STEP})
    note(f"job {{json_in['number']}}")
    return json_in


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)
"""
    + SERVE
)
WITHOUT_JOBS = """
import os
import sys

from potassium import Potassium

app = Potassium("server")


@app.handler
@app.result_webhook(url="http://127.0.0.1:9/")
def handler(cache, json_in):
    roots = ("potassium.jobs", "sqlite3", "aiosqlite")
    return [name for name in sys.modules if name.startswith(roots)]


if __name__ == "__main__":
    app.serve()
"""


@pytest.fixture
def busy(tmp_path: Path, pool: ThreadPoolExecutor) -> Iterator[Server]:
    """A server with a backlog of six seconds of jobs, which is far more than its queue takes."""
    with serve_source(SOURCE, tmp_path) as server:
        list(pool.map(lambda n: submit(server, "/job", {"number": n}), range(BACKLOG)))
        wait_until(lambda: events(server, "job"), "the first of the backlog")
        yield server


def test_a_backlog_does_not_push_calls_past_their_deadlines(busy: Server) -> None:
    """Each of twenty calls is answered within a second, though seconds of jobs came first."""
    with busy.client() as http:
        for number in range(20):
            response = http.post("/call", json={"number": number}, headers={"Prefer": "wait=1"})
            assert response.status_code == 200
    assert len(events(busy, "job")) < BACKLOG


def test_a_crowd_of_calls_is_served_before_a_backlog(
    busy: Server, pool: ThreadPoolExecutor
) -> None:
    """Thirty calls at once are served within two seconds; none is refused because of the jobs."""
    headers = {"Prefer": "wait=2"}
    answers = list(pool.map(lambda n: post(busy, "/call", {"number": n}, headers), range(30)))
    assert [answer.status_code for answer in answers] == [200] * 30
    assert len(events(busy, "job")) < BACKLOG


def test_a_backlog_takes_no_place_in_the_queue(busy: Server) -> None:
    """The server is ready for calls: jobs wait in the store, not in the queue."""
    assert busy.get("/readyz").status_code == 200


def test_jobs_go_on_beside_calls(busy: Server) -> None:
    """A client that calls all the time does not stop the jobs."""
    before = len(events(busy, "job"))
    with busy.client() as http:
        for number in range(30):
            http.post("/call", json={"number": number})
    assert len(events(busy, "job")) > before


def test_probes_are_quick_beside_a_backlog(busy: Server) -> None:
    """Health, readiness and status do not wait for jobs, which take seconds."""
    seconds = []
    with busy.client() as http:
        for path in ["/healthz", "/readyz", "/_k/status"] * 10:
            start = time.monotonic()
            assert http.get(path).status_code == 200
            seconds.append(time.monotonic() - start)
    assert median(seconds) < 1
    assert len(events(busy, "job")) < BACKLOG


def test_urgent_jobs_come_first(start: Start, name: str, gate: Path) -> None:
    """``X-Priority`` orders waiting jobs as it orders calls."""
    server = start(SOURCE)
    submit(server, "/hold", call(name, gate))
    wait_until(lambda: events(server, name), "the first job at work")
    jobs = [
        submit(server, "/job", {"number": number}, {"X-Priority": priority})
        for number, priority in enumerate(["low", "normal", "high", "low", "normal", "high"])
    ]
    gate.touch()
    for job in jobs:
        end_of(server, job)
    assert events(server, "job") == [f"job {number}" for number in (2, 5, 1, 4, 0, 3)]


def test_an_app_without_jobs_knows_nothing_of_them(start: Start, tmp_path: Path) -> None:
    """The app opens no file and imports no store, even with webhooks; and it has no job routes."""
    server = start(WITHOUT_JOBS)
    assert post(server, "/", {}).json() == []
    assert not (tmp_path / ".potassium").exists()
    assert server.get("/jobs").status_code == 404


def test_an_app_that_has_a_background_handler_has_jobs(start: Start, tmp_path: Path) -> None:
    """``jobs=`` is not required: the jobs are kept in the default place."""
    server = start(SOURCE.replace("jobs=Jobs(), ", ""))
    job = submit(server, "/job", {"number": 1})
    assert end_of(server, job)["output"] == {"number": 1}
    assert (tmp_path / ".potassium" / "jobs.db").exists()
