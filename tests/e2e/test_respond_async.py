"""Handlers of direct calls that run as background jobs if the client prefers it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from e2e.batches import batches
from e2e.jobs import IMPORTS, SERVE, end_of, get, post, submit
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.streams import send
from e2e.wire import answer, call, events

ASYNC = {"Prefer": "respond-async"}
SOURCE = (
    IMPORTS
    + """
app = Potassium("server", jobs=Jobs())


@app.handler("/echo")
def echo(cache, json_in):
    return {"got": json_in}


@app.handler("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.handler("/raises")
def raises(cache, json_in):
    raise ValueError


@app.handler("/flaky", attempts=3, backoff=0.05)
def flaky(cache, json_in):
    note(json_in["name"])
    raise ValueError


@app.handler("/stream")
def stream(cache, json_in):
    yield "a"
    yield "b"


@app.handler("/batch", batch=Batch(max_size=16, max_delay=0.01))
def batch(cache, items):
    note(f"{items[0]['name']} batch {[item['number'] for item in items]}")
    return [item["number"] * 10 for item in items]


@app.background("/background", batch=Batch(max_size=16), prepare=lambda body: body["number"])
def background(cache, numbers: list):
    return [[number * 10, len(numbers)] for number in numbers]
"""
    + SERVE
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("async")) as server:
        yield server


def test_any_handler_is_run_in_the_background_where_asked_for(server: Server) -> None:
    """``Prefer: respond-async`` is answered 202, and ``Preference-Applied`` says why."""
    response = post(server, "/echo", {"a": 1}, ASYNC)
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"
    assert end_of(server, response.json())["output"] == {"got": {"a": 1}}


def test_without_the_preference_a_handler_answers_directly(server: Server) -> None:
    """An app that has jobs still answers calls directly."""
    response = post(server, "/echo", {"a": 1})
    assert (response.status_code, response.json()) == (200, {"got": {"a": 1}})
    assert "preference-applied" not in response.headers


def test_an_app_without_jobs_ignores_the_preference(start: Start) -> None:
    """An app may ignore a preference (RFC 7240, section 2): the answer is the usual one."""
    source = 'from potassium import Potassium\napp = Potassium("server")\n\n\n@app.handler\n'
    server = start(f"{source}def handler(cache, json_in):\n    return 1\n{SERVE}")
    response = post(server, "/", {}, ASYNC)
    assert (response.status_code, response.json()) == (200, 1)
    assert "preference-applied" not in response.headers


@pytest.mark.parametrize("prefer", ["respond-async, wait=5", "wait=5, respond-async"])
def test_a_client_may_wait_for_a_direct_answer_first(server: Server, prefer: str) -> None:
    """A call that ends in time is answered 200 with the plain output."""
    response = post(server, "/echo", {"a": 1}, {"Prefer": prefer})
    assert (response.status_code, response.json()) == (200, {"got": {"a": 1}})


def test_two_preference_headers_are_one(server: Server) -> None:
    """Lists may come in several header fields (RFC 9110, section 5.3)."""
    with server.client() as http:
        headers = [("Prefer", "respond-async"), ("Prefer", "wait=5")]
        assert http.post("/echo", json={}, headers=headers).status_code == 200


def test_a_call_that_takes_longer_goes_on_as_a_job(server: Server, name: str, gate: Path) -> None:
    """After ``wait`` the client gets 202, and the same run goes on to its end."""
    response = post(server, "/hold", call(name, gate), {"Prefer": "respond-async, wait=0.3"})
    assert response.status_code == 202
    assert response.headers["preference-applied"].startswith("respond-async")
    gate.touch()
    assert end_of(server, response.json())["output"] == name
    assert events(server, name) == [f"{name} starts", f"{name} ends"]


def test_a_job_that_fails_in_time_is_answered_with_its_error(server: Server) -> None:
    """The client gets the error that the direct call would have got."""
    response = post(server, "/raises", {}, {"Prefer": "respond-async, wait=5"})
    assert error(response) == (500, "handler_error")


def test_a_direct_call_is_never_tried_again(server: Server, name: str) -> None:
    """``attempts=`` is for jobs: a client that waits for an answer gets the first one."""
    assert error(post(server, "/flaky", {"name": name})) == (500, "handler_error")
    assert events(server, name) == [name]


def test_a_job_of_a_handler_is_tried_as_often_as_it_says(server: Server, name: str) -> None:
    """``@app.handler(attempts=3)`` applies when the call is a job."""
    job = end_of(server, submit(server, "/flaky", {"name": name}, ASYNC))
    assert (job["status"], job["attempts"]) == ("failed", 3)
    assert events(server, name) == [name] * 3


def test_a_stream_can_be_a_job(server: Server) -> None:
    """The chunks are the output, whatever the client accepts."""
    headers = {**ASYNC, "Accept": "text/event-stream"}
    assert end_of(server, submit(server, "/stream", {}, headers))["output"] == ["a", "b"]


def test_jobs_batch_with_direct_calls(server: Server, name: str, gate: Path) -> None:
    """Jobs and calls that wait together are one call of the handler."""
    with ExitStack() as stack:
        holder = stack.enter_context(send(server, "/hold", call(name, gate), timeout=20))
        wait_until(lambda: events(server, name), "the handler at work")
        direct = [
            stack.enter_context(send(server, "/batch", {"name": name, "number": n}, timeout=20))
            for n in range(4)
        ]
        jobs = [submit(server, "/batch", {"name": name, "number": n}, ASYNC) for n in range(4, 8)]
        time.sleep(0.3)  # time for the jobs to be fetched from the store
        gate.touch()
        answer(holder)
        answers = [json.loads(answer(connection).body) for connection in direct]
    assert answers == [0, 10, 20, 30]
    assert [end_of(server, job)["output"] for job in jobs] == [40, 50, 60, 70]
    assert any(min(batch) < 4 <= max(batch) for batch in batches(server, name))


def test_jobs_of_a_background_handler_are_batched(
    server: Server, name: str, gate: Path, pool: ThreadPoolExecutor
) -> None:
    """Jobs that wait together run together, each with its own result."""
    holder = pool.submit(post, server, "/hold", call(name, gate))
    wait_until(lambda: events(server, name), "the handler at work")
    jobs = [submit(server, "/background", {"number": n}) for n in range(16)]
    gate.touch()
    outputs = [end_of(server, job)["output"] for job in jobs]
    assert [number for number, _ in outputs] == [n * 10 for n in range(16)]
    assert max(size for _, size in outputs) > 4
    assert holder.result().status_code == 200


def test_the_job_of_a_client_that_leaves_goes_on(server: Server, name: str, gate: Path) -> None:
    """A job goes on even if its client wanted to wait, so that nobody got the acknowledgement."""
    prefer = "Prefer: respond-async, wait=10"
    with send(server, "/hold", call(name, gate), prefer):
        wait_until(lambda: events(server, name), "the handler at work")
    gate.touch()
    wait_until(lambda: f"{name} ends" in events(server, name), "the end of the run")
    [job] = [
        job for job in get(server, "/jobs?limit=1").json()["jobs"] if job["handler"] == "/hold"
    ]
    assert end_of(server, job)["status"] == "succeeded"


def test_a_handler_that_waits_is_not_asked_for_more_than_json(server: Server) -> None:
    """A job's document is JSON, even for a client that accepts only something else."""
    response = post(server, "/echo", {}, {**ASYNC, "Accept": "image/png"})
    assert response.headers["content-type"] == "application/json"
    assert httpx.codes.is_success(response.status_code)
