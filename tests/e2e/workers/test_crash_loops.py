"""A device whose workers fail again and again is given up; a call that kills workers is refused."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.server import Server, wait_until
from e2e.workers.processes import (
    HEAD,
    PATIENCE,
    SERVE,
    TIMEOUT,
    Answered,
    all_workers,
    crew,
    inits,
    is_gone,
    kill,
    runs,
    workers,
)

pytestmark = TIMEOUT
PAUSES = (0.0, 0.05, 0.1)  # seconds instead of a minute in all
GIVEN_UP = re.compile(r"given.up")
FAULTS = ["init", "ready"]
SOURCE = (
    HEAD
    + f"""
from potassium.workers import restarts

restarts.PAUSES = {PAUSES}

app = Potassium("server", workers=Workers(["cpu", "cpu"]), metrics=True)


def die_soon():
    time.sleep(0.3)
    os._exit(3)


@app.init
def init():
    note(f"init {{os.getpid()}}")
    fault = pathlib.Path("fault").read_text() if pathlib.Path("fault").exists() else ""
    if fault == "init":
        raise RuntimeError("no such model")
    if fault == "ready":
        threading.Thread(target=die_soon, daemon=True).start()


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)
"""
    + SERVE
)


@dataclass
class GivenUp:
    """What is seen of a server that has given up one of its two devices."""

    pages: dict[str, tuple[int, str]]
    log: str
    served: list[Answered]
    attempts: int  # to start a new worker
    later: int  # further ones


@pytest.fixture(scope="module", params=FAULTS)
def given_up(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GivenUp]:
    folder = tmp_path_factory.mktemp("loop")
    with crew(folder, SOURCE) as caller:
        server = caller.server
        (folder / "fault").write_text(request.param)
        kill(workers(server)[0])
        wait_until(lambda: GIVEN_UP.search(server.log()), "a device given up", seconds=PATIENCE)
        attempts = len(inits(server)) - 2
        names = ["/_k/status", "/metrics", "/readyz", "/healthz"]
        answers = {name: server.get(name) for name in names}
        time.sleep(1.0)  # an attempt would follow within a tenth of that
        yield GivenUp(
            {name: (answer.status_code, answer.text) for name, answer in answers.items()},
            server.log(),
            [caller.send("/run", f"after {number}").result() for number in range(5)],
            attempts,
            len(inits(server)) - 2 - attempts,
        )


def test_a_crash_loop_ends(given_up: GivenUp) -> None:
    """After one attempt for each pause, the device gets no further worker."""
    assert (given_up.attempts, given_up.later) == (len(PAUSES), 0)


def test_the_other_device_of_a_crash_loop_serves_on(given_up: GivenUp) -> None:
    """The server stays alive and ready, and calls are answered."""
    assert [given_up.pages[page][0] for page in ("/healthz", "/readyz")] == [200, 200]
    assert [one.response.status_code for one in given_up.served] == [200] * 5


def test_the_log_says_that_a_device_is_given_up(given_up: GivenUp) -> None:
    """Once, with the device and what happened last."""
    lines = [line for line in given_up.log.splitlines() if GIVEN_UP.search(line)]
    assert len(lines) == 1
    assert "cpu" in lines[0]
    assert re.search("could not load the model|exited with status 3", lines[0])


@pytest.mark.parametrize("page", ["/_k/status", "/metrics", "/readyz"])
def test_each_page_says_that_a_device_is_given_up(given_up: GivenUp, page: str) -> None:
    """Whoever watches the server sees that half of it is missing."""
    assert GIVEN_UP.search(given_up.pages[page][1])


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server under plain uvicorn, which goes on after its last device is given up."""
    folder = tmp_path_factory.mktemp("failed")
    with crew(folder, SOURCE, target="app") as caller:
        (folder / "fault").write_text("ready")
        for pid in workers(caller.server):
            kill(pid)
        wait_until(
            lambda: caller.server.get("/healthz").status_code == 503,
            "a red liveness",
            seconds=PATIENCE,
        )
        yield caller.server


def test_a_server_without_a_device_is_neither_alive_nor_ready(failed: Server) -> None:
    """Both probes are red, so that a supervisor replaces the server."""
    assert [failed.get(page).status_code for page in ("/healthz", "/readyz")] == [503, 503]


def test_calls_to_a_server_without_a_device_are_refused(failed: Server) -> None:
    """At once, and none runs."""
    answer = failed.post("/run", {"name": "after"})
    assert (answer.status_code, answer.json()["code"]) == (503, "worker_failed")
    assert runs(failed, "after") == []


def test_a_server_without_a_device_has_no_workers(failed: Server) -> None:
    """Nothing is tried any more."""
    assert workers(failed) == []


def test_a_server_ends_with_a_failure_once_no_device_is_left(tmp_path: Path) -> None:
    """Calls that wait are told before it ends, and no process is left."""
    with crew(tmp_path, SOURCE) as caller:
        (tmp_path / "fault").write_text("init")
        for pid in workers(caller.server):
            kill(pid)
        waiting = [caller.send("/run", f"waiting {number}") for number in range(5)]
        status = caller.server.process.wait(PATIENCE)
        assert status > 0
        assert [one.result().error for one in waiting] == [(503, "worker_failed")] * 5
        assert all_workers(caller.server.port) == []
        assert runs(caller.server, "waiting") == []


POISON = (
    HEAD
    + """
app = Potassium("server", workers=Workers(["cpu", "cpu"]))


@app.init
def init():
    note(f"init {os.getpid()}")


@app.handler("/run")
def run(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    if json_in["name"] == "poison":
        ctypes.string_at(0)
    return {"pid": os.getpid()}


@app.handler("/other")
def other(cache, json_in):
    return {"pid": os.getpid()}
"""
    + SERVE
)


@dataclass
class Poisoned:
    """What happened to a call that killed three workers, and to others after it."""

    server: Server
    first: list[Answered]
    fourth: Answered
    killed_by_fourth: list[int]
    same_handler: Answered
    same_body_elsewhere: Answered
    times_begun: int


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poisoned]:
    with crew(tmp_path_factory.mktemp("poison"), POISON) as caller:
        first = [caller.send("/run", "poison").result() for _ in range(3)]
        wait_until(lambda: len(workers(caller.server)) == 2, "two workers", seconds=PATIENCE)
        alive = workers(caller.server)
        fourth = caller.send("/run", "poison").result()
        same_handler = caller.send("/run", "innocent").result()
        yield Poisoned(
            caller.server,
            first,
            fourth,
            [pid for pid in alive if is_gone(pid)],
            same_handler,
            caller.send("/other", "poison").result(),
            len(runs(caller.server, "poison")),
        )


def test_a_call_that_kills_its_worker_gets_503_each_time(poisoned: Poisoned) -> None:
    """It might have been the worker's fault, so it may try again."""
    assert [one.error for one in poisoned.first] == [(503, "worker_failed")] * 3


def test_a_call_that_has_killed_three_workers_is_refused(poisoned: Poisoned) -> None:
    """With 503, and no further worker begins it."""
    assert poisoned.fourth.response.status_code == 503
    assert (poisoned.times_begun, poisoned.killed_by_fourth) == (3, [])


def test_other_calls_of_a_handler_with_a_poison_call_are_served(poisoned: Poisoned) -> None:
    """It is the input that is refused."""
    assert poisoned.same_handler.response.status_code == 200


def test_the_input_of_a_poison_call_is_served_by_other_handlers(poisoned: Poisoned) -> None:
    """It has done them no harm."""
    assert poisoned.same_body_elsewhere.response.status_code == 200


def test_the_log_says_that_a_call_is_refused(poisoned: Poisoned) -> None:
    """It names the handler."""
    assert re.search(r"/run\b.*refused|refused.*/run\b", poisoned.server.log())


def test_a_poison_call_costs_no_device(poisoned: Poisoned) -> None:
    """The deaths that it explains bring no device closer to its end."""
    assert not GIVEN_UP.search(poisoned.server.log())
    assert poisoned.server.get("/readyz").status_code == 200
