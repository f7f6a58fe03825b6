"""The server ends, and so do all of its processes: killed, stopped, or interrupted."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest
from e2e.server import free_port, wait_until
from e2e.workers.processes import (
    APP,
    SERVE,
    START_TIME,
    TIMEOUT,
    Answered,
    Call,
    Caller,
    all_workers,
    crew,
    hold_init,
    inits,
    kill,
    order,
    runs,
    workers,
)

pytestmark = TIMEOUT
SECOND = 1.0
SOON = 10.0  # seconds; without what is tested, it takes a minute, or for ever
FAILED = (503, "worker_failed")
SOURCE = (
    APP
    + """

WAYS = {
    "sleeps in C": lambda: ctypes.PyDLL(None).sleep(600),
    "computes in C": lambda: 3 ** (10**9),
    "waits": lambda: threading.Event().wait(),
}


@app.handler("/deep")
def deep(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    WAYS[json_in["name"]]()
"""
    + SERVE
)
STATES = ["idle", "sleeps in C", "computes in C", "waits", "init"]


@dataclass
class Orphans:
    """What became of five workers whose server was killed."""

    workers: dict[str, int]  # by what they were doing
    left: list[int]  # those that were there a second later
    port_is_free: bool


@pytest.fixture(scope="module")
def orphans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orphans]:
    with crew(tmp_path_factory.mktemp("orphans"), SOURCE, env={"WORKERS": "5"}) as caller:
        server = caller.server
        found = {}
        for way in STATES[1:4]:
            caller.send("/deep", way)
            wait_until(lambda way=way: runs(server, way), f"a worker that {way}")  # type: ignore[misc]
            (found[way],) = runs(server, way)
        hold_init(server)
        idle = [pid for pid in workers(server) if pid not in found.values()]
        kill(idle[0])
        wait_until(lambda: len(inits(server)) == 6, "a worker in init", seconds=START_TIME)
        found |= {"idle": idle[1], "init": inits(server)[-1]}
        server.process.kill()
        server.process.wait()
        time.sleep(SECOND)
        left = all_workers(server.port)
        with socket.socket() as probe:
            free = probe.connect_ex(("127.0.0.1", server.port)) != 0
        yield Orphans(found, left, free)


@pytest.mark.parametrize("state", STATES)
def test_no_worker_outlives_a_server_that_is_killed(orphans: Orphans, state: str) -> None:
    """A second later it is gone, also if it holds the GIL."""
    assert orphans.workers[state] not in orphans.left


def test_a_server_that_is_killed_leaves_its_port(orphans: Orphans) -> None:
    """No worker listens for it."""
    assert orphans.port_is_free


@contextmanager
def terminal(folder: Path, **env: str) -> Iterator[Caller]:
    """Serve the app in a process group of its own, as a shell with a terminal does."""
    launcher = [
        sys.executable,
        "-c",
        "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    with crew(folder, SOURCE, launcher=launcher, env=env) as caller:
        assert os.getpgid(caller.server.process.pid) == caller.server.process.pid
        yield caller


def to_server(caller: Caller, sig: Signals) -> None:
    caller.server.process.send_signal(sig)


def to_group(caller: Caller, sig: Signals) -> None:
    os.killpg(caller.server.process.pid, sig)


@dataclass
class Work:
    """Two calls that run, a stream, and three calls that wait."""

    held: list[Call]
    waiting: list[Call]


def load(caller: Caller) -> Work:
    held = [caller.occupy("/run", f"held {number}")[0] for number in range(2)]
    waiting = caller.queue("/run", [f"waiting {number}" for number in range(3)])
    return Work(held, waiting)


@dataclass
class Drained:
    """What happened to a server that was asked to stop, with enough time to finish."""

    answers: list[Answered]
    alive: int  # workers while it drained
    status: int
    left: list[int]
    log: str


@pytest.fixture(
    scope="module",
    params=[(to_server, SIGTERM), (to_server, SIGINT), (to_group, SIGINT), (to_group, SIGTERM)],
    ids=["SIGTERM", "SIGINT", "Ctrl-C", "SIGTERM to all"],
)
def drained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Drained]:
    send: Callable[[Caller, Signals], None] = request.param[0]
    with terminal(tmp_path_factory.mktemp("drained"), GRACE="60") as caller:
        work = load(caller)
        send(caller, request.param[1])
        wait_until(lambda: caller.server.get("/readyz").status_code == 503, "the drain")
        time.sleep(0.3)
        alive = len(workers(caller.server))
        answers = [one.go_on() for one in work.held] + [one.result() for one in work.waiting]
        status = caller.server.process.wait(START_TIME)
        yield Drained(answers, alive, status, all_workers(caller.server.port), caller.server.log())


def test_all_that_was_admitted_is_answered_by_the_workers(drained: Drained) -> None:
    """The running calls and those that wait are served as if nothing had happened."""
    assert [one.response.status_code for one in drained.answers] == [200] * 5


def test_workers_leave_the_end_to_their_server(drained: Drained) -> None:
    """A signal that reaches them too, as from a terminal, does not end them."""
    assert drained.alive == 2


def test_a_drained_server_ends_with_status_0_and_without_workers(drained: Drained) -> None:
    """It has failed nobody."""
    assert (drained.status, drained.left) == (0, [])


def test_a_drain_is_no_failure_on_the_log(drained: Drained) -> None:
    """The end of the workers is part of it."""
    assert "ERROR" not in drained.log
    assert "Traceback" not in drained.log


@pytest.mark.parametrize("sig", [SIGTERM, SIGINT, SIGHUP], ids=lambda sig: sig.name)
def test_a_worker_ignores_signals_that_ask_it_to_end(tmp_path: Path, sig: Signals) -> None:
    """Only its server ends it: its call goes on, and so does it."""
    with crew(tmp_path, SOURCE) as caller:
        held, pid = caller.occupy("/run", "held")
        for one in workers(caller.server):
            os.kill(one, sig)
        time.sleep(0.2)
        assert len(workers(caller.server)) == 2
        assert held.go_on().pid == pid


@dataclass
class Over:
    """What happened to a server whose calls did not end within the grace period."""

    answers: list[Answered]
    status: int
    seconds: float  # from the signal until the end of the process
    left: list[int]


@pytest.fixture(scope="module", params=["waits", "sleeps in C"])
def over(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Over]:
    with terminal(tmp_path_factory.mktemp("over"), GRACE="0.7") as caller:
        stuck = caller.send("/deep", request.param)
        wait_until(lambda: runs(caller.server, request.param), "the handler at work")
        held, _ = caller.occupy("/run", "held")
        waiting = caller.queue("/run", [f"waiting {number}" for number in range(3)])
        begin = time.monotonic()
        to_server(caller, SIGTERM)
        status = caller.server.process.wait(START_TIME)
        seconds = time.monotonic() - begin
        left = all_workers(caller.server.port)
        yield Over([one.result() for one in (stuck, held, *waiting)], status, seconds, left)


def test_past_the_grace_all_calls_are_told(over: Over) -> None:
    """Those that run, and those that wait, get 503."""
    assert {one.response.status_code for one in over.answers} == {503}
    assert {one.error[1] for one in over.answers} <= {"draining", "worker_failed"}


def test_past_the_grace_all_processes_end(over: Over) -> None:
    """Soon, with a failure, also a worker that ignores everything."""
    assert over.seconds < 0.7 + SOON
    assert (over.status > 0, over.left) == (True, [])


@pytest.mark.parametrize("send", [to_server, to_group])
def test_a_second_signal_ends_all_processes_at_once(
    tmp_path: Path, send: Callable[[Caller, Signals], None]
) -> None:
    """Whatever the workers are doing."""
    with terminal(tmp_path, GRACE="60") as caller:
        caller.send("/deep", "sleeps in C")
        wait_until(lambda: runs(caller.server, "sleeps in C"), "the handler at work")
        send(caller, SIGINT)
        wait_until(lambda: caller.server.get("/readyz").status_code == 503, "the drain")
        assert len(workers(caller.server)) == 2
        begin = time.monotonic()
        send(caller, SIGINT)
        caller.server.process.wait(START_TIME)
        wait_until(lambda: not all_workers(caller.server.port), "the end", seconds=SOON)
        assert time.monotonic() - begin < SOON


def test_a_worker_that_dies_in_a_drain_takes_one_call_along(tmp_path: Path) -> None:
    """The others are served, and the server ends as it would have."""
    with crew(tmp_path, SOURCE, env={"GRACE": "60"}) as caller:
        work = load(caller)
        (victim,) = runs(caller.server, "held 0")
        to_server(caller, SIGTERM)
        wait_until(lambda: caller.server.get("/readyz").status_code == 503, "the drain")
        kill(victim)
        assert work.held[0].result().error == FAILED
        assert work.held[1].go_on().response.status_code == 200
        assert [one.result().response.status_code for one in work.waiting] == [200] * 3
        assert order(caller.server, "waiting") == [one.name for one in work.waiting]
        caller.server.process.wait(START_TIME)
        assert all_workers(caller.server.port) == []


def test_a_drain_does_not_wait_for_a_worker_that_loads(tmp_path: Path) -> None:
    """Nobody needs it any more."""
    with crew(tmp_path, SOURCE, env={"GRACE": "60"}) as caller:
        hold_init(caller.server)
        kill(workers(caller.server)[0])
        wait_until(lambda: len(inits(caller.server)) == 3, "a worker in init", seconds=START_TIME)
        assert caller.server.stop(SIGTERM) == 0  # in time
        assert all_workers(caller.server.port) == []


def test_a_signal_while_the_workers_load_ends_the_server(tmp_path: Path) -> None:
    """At its first start, too, and no worker is left."""
    (tmp_path / "app.py").write_text(SOURCE)
    (tmp_path / "hold-init").touch()
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=tmp_path,
            env={**os.environ, "POTASSIUM_PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        events = tmp_path / "events"
        wait_until(
            lambda: events.exists() and events.read_text().count("init") == 2,
            "two workers in init",
            seconds=START_TIME,
        )
        process.send_signal(SIGTERM)
        process.wait(START_TIME)
        wait_until(lambda: not all_workers(port), "the end of the workers", seconds=SOON)
    finally:
        process.kill()
        process.wait()
        for pid in all_workers(port):
            kill(pid)
