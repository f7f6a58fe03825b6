"""Functions that are run in every worker, and in workers that are started later."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e.server import Server, serve_source, wait_until
from e2e.wire import RECORD, call, events
from e2e.workers.processes import TIMEOUT

pytestmark = TIMEOUT

APP = (
    RECORD
    + """
import os

from potassium import Potassium, Workers

app = Potassium("server", workers=WORKERS)


@app.init
def init():
    return {"model": "first"}


@app.handler("/model")
def model(cache, json_in):
    return [os.getpid(), cache["model"]]


@app.handler("/hold")
def wait(cache, json_in):
    return [hold(json_in), os.getpid()]


def use(cache, model):
    if model == "bad":
        raise ValueError("bad model")
    note(f"{model} in use")
    cache["model"] = model
    return [os.getpid(), model]


@app.handler("/use")
async def exchange(cache, json_in):
    return await app.broadcast(use, **json_in)


@app.handler("/local")
async def local(cache, json_in):
    return await app.broadcast(lambda cache: None)


@app.handler("/object")
async def no_json(cache, json_in):
    return await app.broadcast(use, model=object())


if __name__ == "__main__":
    app.serve()
"""
)


@pytest.fixture(params=["None", '["cpu", "cpu"]'], ids=["one_process", "two_workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with serve_source(APP.replace("WORKERS)", f"{request.param})"), tmp_path) as server:
        yield server


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Server]:
    with serve_source(APP.replace("WORKERS)", '["cpu", "cpu"])'), tmp_path) as server:
        yield server


def number_of(server: Server) -> int:
    """Return how many processes hold a model."""
    workers = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return len(workers.split()) or 1


def models(server: Server) -> list[str]:
    """Return the model that each of some calls has seen."""
    return [server.post("/model", {}).json()[1] for _ in range(4)]


def ready(server: Server) -> set[int]:
    """Return the processes of the workers that serve."""
    return {one["pid"] for one in server.status()["workers"] if one["state"] == "ready"}


def test_a_function_runs_wherever_the_model_is(server: Server) -> None:
    """It runs once in each process that holds a model, and the calls after it see what it did."""
    results = server.post("/use", {"model": "second"}).json()
    assert len({pid for pid, _ in results}) == len(results) == number_of(server)
    assert len(events(server, "second in use")) == number_of(server)
    assert {model for _, model in results} == {"second"}
    assert set(models(server)) == {"second"}


def test_what_it_raises_reaches_the_caller(server: Server) -> None:
    """The error is that of the function, the log names it, and the model is what it was."""
    answer = server.post("/use", {"model": "bad"})
    assert answer.status_code == 500
    assert "ValueError: bad model" in server.log()
    assert set(models(server)) == {"first"}


def test_the_others_serve_meanwhile(two_workers: Server, gate: Path) -> None:
    """It waits for the call that a worker runs; another worker goes on with other calls."""
    server = two_workers
    with ThreadPoolExecutor(2) as threads:
        holding = threads.submit(server.post, "/hold", call("holder", gate))
        wait_until(lambda: events(server, "holder starts"), "the call begins")
        using = threads.submit(server.post, "/use", {"model": "second"})
        wait_until(lambda: server.status()["counts"]["admitted"] >= 2, "it is under way")
        assert {server.post("/model", {}).status_code for _ in range(4)} == {200}
        assert not using.done()
        gate.touch()
        assert holding.result().status_code == 200
        assert len(using.result().json()) == 2


def test_a_worker_that_comes_later_has_it_too(two_workers: Server) -> None:
    """A new worker runs the latest call of the function before it serves."""
    server = two_workers
    for model in ("second", "third"):
        results = server.post("/use", {"model": model}).json()
    victims = [pid for pid, _ in results]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: ready(server).isdisjoint(victims) and ready(server), "a new worker")
    seen = [server.post("/model", {}).json() for _ in range(6)]
    assert {model for _, model in seen} == {"third"}
    assert not {pid for pid, _ in seen} & set(victims)


@pytest.mark.parametrize(
    ("path", "hint"), [("/local", "top level of a module"), ("/object", "as JSON")]
)
def test_what_cannot_cross_is_a_usage_error(two_workers: Server, path: str, hint: str) -> None:
    """The message in the log says what to write instead."""
    assert two_workers.post(path, {}).status_code == 500
    assert hint in two_workers.log()
