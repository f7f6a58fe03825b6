"""How a server with background jobs shuts down: jobs that can wait are left to the next one."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGTERM

import pytest
from e2e.job_faults import SOURCE
from e2e.jobs import end_of, reaches, submit
from e2e.server import Start, error, wait_until
from e2e.wire import call, events

SHORT = {"GRACE": "0.5"}  # seconds
PROMPT = 2.0  # seconds that a process may take to end when nothing holds it any more


def test_a_drain_leaves_waiting_jobs_to_the_next_server(
    start: Start, name: str, gate: Path
) -> None:
    """The server does not run all hundred waiting jobs before it ends, and none is lost."""
    server = start(SOURCE)
    first = submit(server, "/hold", call(name, gate))
    jobs = [submit(server, "/hold", call(f"{name} {number}", gate)) for number in range(100)]
    reaches(server, first, "running")
    server.process.send_signal(SIGTERM)
    time.sleep(0.3)
    gate.touch()
    assert server.process.wait(10) == 0
    assert len(events(server, name)) < 150
    server = start(SOURCE)
    assert {end_of(server, job)["status"] for job in [first, *jobs]} == {"succeeded"}


def test_a_job_that_ends_within_the_grace_is_not_run_again(
    start: Start, name: str, gate: Path
) -> None:
    """A running job may end within the grace period, and its result is kept."""
    server = start(SOURCE)
    job = submit(server, "/hold", call(name, gate))
    reaches(server, job, "running")
    server.process.send_signal(SIGTERM)
    time.sleep(0.3)
    gate.touch()
    server.process.wait(10)
    server = start(SOURCE)
    assert end_of(server, job)["output"] == name
    assert events(server, name) == [f"{name} starts", f"{name} ends"]


def test_a_job_that_takes_longer_than_the_grace_is_put_back(
    start: Start, name: str, gate: Path
) -> None:
    """The process ends, and the next process runs the job again."""
    server = start(SOURCE, env=SHORT)
    job = submit(server, "/hold", call(name, gate))
    reaches(server, job, "running")
    began = time.monotonic()
    server.process.send_signal(SIGTERM)
    server.process.wait(10)
    assert time.monotonic() - began < 0.5 + PROMPT
    server = start(SOURCE)
    gate.touch()
    assert end_of(server, job)["output"] == name


@pytest.mark.timeout(120)
def test_restarts_do_not_use_a_job_up(start: Start, name: str, gate: Path) -> None:
    """However often a drain puts a long job back, the job does not fail because of it."""
    server = start(SOURCE, env=SHORT)
    job = submit(server, "/hold", call(name, gate))
    for _ in range(4):
        reaches(server, job, "running")
        server.process.send_signal(SIGTERM)
        server.process.wait(10)
        server = start(SOURCE, env=SHORT)
    gate.touch()
    assert end_of(server, job)["output"] == name


def test_a_server_that_drains_takes_no_jobs(start: Start, name: str, gate: Path) -> None:
    """The answer is 503 ``draining``: another server must acknowledge what this one cannot run."""
    server = start(SOURCE)
    with server.client() as kept:
        submit(server, "/hold", call(name, gate))
        wait_until(lambda: events(server, name), "the job at work")
        kept.get("/healthz")
        server.process.send_signal(SIGTERM)
        wait_until(lambda: kept.get("/readyz").status_code == 503, "the drain")
        assert error(kept.post("/echo", json={})) == (503, "draining")
        gate.touch()


def test_a_client_that_waits_for_a_job_is_answered_by_the_drain(
    start: Start, name: str, gate: Path, pool: ThreadPoolExecutor
) -> None:
    """A client that waits for a job neither delays the end of the process nor is cut off."""
    server = start(SOURCE, env=SHORT)
    job = submit(server, "/hold", call(name, gate))
    reaches(server, job, "running")
    with server.client() as http:
        waits = pool.submit(http.get, f"/jobs/{job['id']}", headers={"Prefer": "wait=30"})
        time.sleep(0.3)
        began = time.monotonic()
        server.process.send_signal(SIGTERM)
        server.process.wait(10)
        assert time.monotonic() - began < 0.5 + PROMPT
        assert waits.result().json()["status"] in ("queued", "running")
