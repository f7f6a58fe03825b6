"""Background jobs whose worker dies, while the server lives."""

from collections.abc import Iterator

import pytest
from e2e.jobs import Document, document, end_of, reaches, submit
from e2e.server import wait_until
from e2e.workers.processes import HEAD, SERVE, START_TIME, TIMEOUT, Caller, crew, kill, runs

pytestmark = TIMEOUT
SOURCE = (
    HEAD
    + """
app = Potassium("server", workers=Workers(["cpu", "cpu"]))


@app.background("/job")
def job(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    wait_for(json_in["gate"])
    return json_in["name"]


@app.background("/kills")
def kills(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    os.abort()


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)
"""
    + SERVE
)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A server that must survive all of these tests."""
    with crew(tmp_path_factory.mktemp("jobs"), SOURCE) as caller:
        yield caller


@pytest.fixture(autouse=True)
def _no_job_is_left(caller: Caller) -> Iterator[None]:
    """Let the jobs of a test that has failed go on: no other suspect runs beside them."""
    yield
    for gate in caller.gates:
        gate.touch()


def begin(caller: Caller, name: str) -> tuple[Document, int]:
    """Submit a job, wait until it has begun, and return it with its worker."""
    gate = caller.server.log_file.parent / f"gate of {name}"
    caller.gates.append(gate)
    job = submit(caller.server, "/job", {"name": name, "gate": str(gate)})
    wait_until(lambda: runs(caller.server, name), f"{name} at work", seconds=START_TIME)
    return job, runs(caller.server, name)[-1]


def test_a_job_whose_worker_is_killed_has_its_next_attempt(caller: Caller) -> None:
    """It runs again elsewhere and succeeds; its document reports two attempts."""
    job, pid = begin(caller, "killed")
    kill(pid)
    wait_until(
        lambda: len(runs(caller.server, "killed")) == 2, "the next attempt", seconds=START_TIME
    )
    caller.gates[-1].touch()
    ended = end_of(caller.server, job, seconds=START_TIME)
    assert (ended["status"], ended["output"], ended["attempts"]) == ("succeeded", "killed", 2)
    assert runs(caller.server, "killed")[1] != pid


def test_calls_beside_a_job_whose_worker_is_killed_are_served(caller: Caller) -> None:
    """Nobody waits for the job to be cleared."""
    _, pid = begin(caller, "beside")
    kill(pid)
    calls = [caller.send("/run", f"call {number}") for number in range(5)]
    try:
        assert [one.result().response.status_code for one in calls] == [200] * 5
    finally:
        caller.gates[-1].touch()  # as no other suspect runs until then


def test_a_job_that_kills_three_workers_is_interrupted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The server lives, and other jobs succeed."""
    with crew(tmp_path_factory.mktemp("interrupted"), SOURCE) as caller:
        job = submit(caller.server, "/kills", {"name": "kills"})
        other, _ = begin(caller, "other")
        caller.gates[-1].touch()
        ended = end_of(caller.server, job, seconds=START_TIME)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "interrupted")
        assert 3 <= len(runs(caller.server, "kills")) <= 5
        assert end_of(caller.server, other, seconds=START_TIME)["status"] == "succeeded"
        assert caller.send("/run", "after").result().response.status_code == 200
        assert caller.server.process.poll() is None


def number_of_ends(caller: Caller) -> int:
    """Return how many workers have ended."""
    return sum(sum(one["ends"].values()) for one in caller.server.status()["workers"])


def test_the_attempt_of_a_killed_worker_is_told_at_once(caller: Caller) -> None:
    """The document says that the job is queued or runs again, not that it failed."""
    job, pid = begin(caller, "told")
    reaches(caller.server, job, "running")
    ends = number_of_ends(caller)
    kill(pid)
    wait_until(lambda: number_of_ends(caller) > ends, "the server hears of it")
    found = document(caller.server, job)
    caller.gates[-1].touch()
    assert found["status"] in ("queued", "running")
    assert found.get("error") is None
    assert end_of(caller.server, job, seconds=START_TIME)["status"] == "succeeded"
