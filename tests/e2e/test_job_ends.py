"""Background jobs that are cancelled, fail or start too late; and jobs that are run again."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.jobs import (
    IMPORTS,
    SERVE,
    Document,
    cancel,
    document,
    end_of,
    reaches,
    retry,
    submit,
)
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.wire import call, events

SOURCE = (
    IMPORTS
    + """
from potassium import HTTPException, InvalidInput

expire_after = os.environ.get("EXPIRE_AFTER")
app = Potassium("server", jobs=Jobs(expire_after=expire_after and float(expire_after)))


@app.background("/echo")
def echo(cache, json_in):
    return json_in


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.background("/watch")
def watch(cache, request: Request):
    name = request.json["name"]
    note(f"{name} starts")
    while not request.cancelled:
        time.sleep(0.005)
    note(f"{name} cancelled")
    if request.json.get("leaves"):
        request.raise_if_cancelled()
    return "late"


@app.background("/raises")
def raises(cache, json_in):
    raise ValueError("secret of the handler")


@app.background("/refuses")
def refuses(cache, json_in):
    raise HTTPException(409, "not today")


@app.background("/rejects")
def rejects(cache, json_in):
    raise InvalidInput("too dark")


@app.background("/exits")
def exits(cache, json_in):
    sys.exit(3)


@app.background("/unserializable")
def unserializable(cache, json_in):
    return object()


@app.background("/limited", timeout=0.5)
def limited(cache, request: Request):
    name = request.json["name"]
    note(f"{name} starts")
    while not request.cancelled:
        time.sleep(0.005)
    note(f"{name} cancelled")


@app.background("/short", timeout=0.5)
def short(cache, json_in):
    return "in time"


@app.background("/flaky")
def flaky(cache, json_in):
    note(json_in["name"])
    if not os.path.exists(json_in["gate"]):
        raise ValueError
    return "at last"
"""
    + SERVE
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("ends")) as server:
        yield server


def behind(server: Server, name: str, gate: Path, path: str, body: object = None) -> Document:
    """Submit a job behind one that holds the thread until the gate opens."""
    submit(server, "/hold", call(name, gate))
    wait_until(lambda: events(server, name), "the first job at work")
    return submit(server, path, body)


def test_a_waiting_job_is_cancelled_at_once(server: Server, name: str, gate: Path) -> None:
    """A held thread does not delay the 200 with the cancelled document; the job never runs."""
    job = behind(server, name, gate, "/hold", call(f"second {name}", gate))
    response = cancel(server, job)
    assert response.status_code == 200
    assert (response.json()["id"], response.json()["status"]) == (job["id"], "cancelled")
    gate.touch()
    end_of(server, submit(server, "/echo"))
    assert events(server, f"second {name}") == []
    assert document(server, job) == response.json()


@pytest.mark.parametrize("leaves", [True, False])
def test_a_running_job_is_told_to_end(server: Server, name: str, leaves: bool) -> None:
    """The answer is 202, ``request.cancelled`` turns true, and the job is cancelled either way."""
    job = submit(server, "/watch", {"name": name, "leaves": leaves})
    wait_until(lambda: events(server, name), "the job at work")
    assert cancel(server, job).status_code == 202
    ended = end_of(server, job)
    assert ended["status"] == "cancelled"
    assert "output" not in ended
    noted = [f"{name} starts", f"{name} cancelled"]
    wait_until(lambda: events(server, name) == noted, "the handler hears of it")


def test_an_ended_job_cannot_be_cancelled(server: Server) -> None:
    """The answer is 409, and the job stays as it is."""
    job = end_of(server, submit(server, "/echo", {"a": 1}))
    assert error(cancel(server, job)) == (409, "job_has_ended")
    assert document(server, job) == job


def test_a_cancelled_job_cannot_be_cancelled_again(server: Server, name: str, gate: Path) -> None:
    """The second answer is 409, because cancelled is an end like any other."""
    job = behind(server, name, gate, "/echo")
    cancel(server, job)
    assert error(cancel(server, job)) == (409, "job_has_ended")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/raises", 500, "handler_error"),
        ("/exits", 500, "handler_error"),
        ("/unserializable", 500, "unserializable_output"),
        ("/rejects", 422, "invalid_input"),
    ],
)
def test_the_error_of_a_job_is_a_problem_document(
    server: Server, path: str, status: int, code: str
) -> None:
    """The job's error is what a direct call would be answered with."""
    job = end_of(server, submit(server, path))
    assert (job["status"], "output" in job) == ("failed", False)
    assert (job["error"]["status"], job["error"]["code"]) == (status, code)
    assert {"type", "title"} <= set(job["error"])


def test_what_a_handler_refuses_is_the_error_of_its_job(server: Server) -> None:
    """An ``HTTPException`` keeps its status and its detail."""
    job = end_of(server, submit(server, "/refuses"))
    assert (job["error"]["status"], job["error"]["detail"]) == (409, "not today")


def test_what_was_raised_is_in_the_log_alone(server: Server) -> None:
    """The client gets the code; the traceback is for the operator."""
    job = end_of(server, submit(server, "/raises"))
    assert "secret of the handler" not in str(job)
    wait_until(lambda: "secret of the handler" in server.log(), "a line on the log")


def test_a_job_that_runs_too_long_fails(server: Server, name: str) -> None:
    """``timeout`` ends it with ``deadline_exceeded``; the handler sees ``request.cancelled``."""
    job = end_of(server, submit(server, "/limited", {"name": name}))
    assert (job["status"], job["error"]["code"]) == ("failed", "deadline_exceeded")
    wait_until(lambda: f"{name} cancelled" in events(server, name), "the handler to be told")


def test_a_job_that_waits_does_not_run_out_of_time(server: Server, name: str, gate: Path) -> None:
    """``timeout`` counts from the start of the run, however long the job has waited."""
    job = behind(server, name, gate, "/short")
    time.sleep(1.0)
    assert document(server, job)["status"] == "queued"
    gate.touch()
    assert end_of(server, job)["output"] == "in time"


def test_a_job_that_begins_too_late_is_not_run(start: Start, name: str, gate: Path) -> None:
    """A job that has not begun within ``expire_after`` expires, and never runs."""
    server = start(SOURCE, env={"EXPIRE_AFTER": "0.5"})
    job = behind(server, name, gate, "/hold", call(f"second {name}", gate))
    expired = reaches(server, job, "expired", seconds=10)
    assert "output" not in expired
    gate.touch()
    end_of(server, submit(server, "/echo"))
    assert events(server, f"second {name}") == []


def test_a_failed_job_is_run_again_by_hand(server: Server, name: str, gate: Path) -> None:
    """``POST /jobs/ID/retry`` answers 202, and the same job succeeds once the cause is gone."""
    job = end_of(server, submit(server, "/flaky", {"name": name, "gate": str(gate)}))
    assert job["status"] == "failed"
    gate.touch()
    response = retry(server, job)
    assert (response.status_code, response.json()["id"]) == (202, job["id"])
    ended = reaches(server, job, "succeeded")
    assert ended["output"] == "at last"
    assert "error" not in ended
    assert events(server, name) == [name, name]


def test_only_failed_jobs_are_run_again(server: Server, name: str, gate: Path) -> None:
    """A job that has succeeded, that waits or that runs is answered 409."""
    succeeded = end_of(server, submit(server, "/echo"))
    running = submit(server, "/hold", call(name, gate))
    reaches(server, running, "running")
    waiting = submit(server, "/echo")
    assert [retry(server, job).status_code for job in (succeeded, waiting, running)] == [409] * 3
