"""How a server shuts down while it has work to do."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import httpx
import pytest
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.wire import RECORD, call, events, head, post

GRACE = 0.7  # seconds, for tests in which the grace period runs out
PROMPT = 1.5  # seconds that a process may take to end when nothing holds it any more
AT_ONCE = 0.2  # seconds

SOURCE = (
    RECORD
    + """
import asyncio
import os
import threading

from potassium import Limits, Potassium, Request

app = Potassium("server", limits=Limits(grace_period=float(os.environ.get("GRACE", "20"))))


@app.handler("/hold")
def wait(cache, json_in):
    return hold(json_in)


@app.handler("/stuck")
def stuck(cache, json_in):
    note("stuck starts")
    if json_in.get("compute"):
        while True:
            pass
    threading.Event().wait()


@app.handler("/watch")
def watch(cache, request: Request):
    note("watch starts")
    while not request.cancelled:
        time.sleep(0.005)
    note("watch cancelled")


@app.handler("/async", concurrency=4)
async def asynchronous(cache, json_in):
    note("async starts")
    while not pathlib.Path(json_in["gate"]).exists():
        await asyncio.sleep(0.005)
    return json_in["name"]


if __name__ == "__main__":
    app.serve()
"""
)
SHORT = {"GRACE": str(GRACE)}


@dataclass
class Load:
    """One running call, and five that wait behind it."""

    running: Future[httpx.Response]
    waiting: list[Future[httpx.Response]]
    gate: Path


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def load(server: Server, pool: ThreadPoolExecutor, path: str = "/hold", **body: object) -> Load:
    """Start a call of ``path``, and five calls behind it that wait for the gate."""
    gate = server.log_file.parent / "gate"
    running = pool.submit(server.post, path, {**call("running", gate), **body})
    wait_until(lambda: not server.status()["gpu_available"], "a handler that runs")
    waiting = [pool.submit(server.post, "/hold", call(f"waiting {n}", gate)) for n in range(5)]
    wait_until(lambda: server.status()["queue"]["length"] == 5, "calls in the queue")
    return Load(running, waiting, gate)


def end(server: Server) -> tuple[int, float]:
    """Wait until the process ends; return its exit status and the seconds that took."""
    start = time.perf_counter()
    status = server.process.wait(10)
    return status, time.perf_counter() - start


@dataclass
class Drained:
    """What happened when a server was stopped under load, with enough time to finish."""

    ready: list[tuple[float, int]]  # seconds after the signal, and the status of /readyz
    alive: int  # the status of /healthz, on a new connection
    new: httpx.Response  # the answer to a call on a new connection
    kept: httpx.Response  # the answer to a call on an old connection
    answers: list[httpx.Response]  # the answers to all admitted calls
    asynchronous: httpx.Response
    status: int
    seconds: float  # from the last answer to the end of the process
    log: str


@pytest.fixture(scope="module", params=[SIGTERM, SIGINT], ids=["SIGTERM", "SIGINT"])
def drained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Drained]:
    folder = tmp_path_factory.mktemp("drained")
    with (
        serve_source(SOURCE, folder) as server,
        ThreadPoolExecutor(16) as pool,
        server.client() as kept,
    ):
        work = load(server, pool)
        asynchronous = pool.submit(server.post, "/async", call("async", work.gate))
        wait_until(lambda: events(server, "async"), "the async handler at work")
        kept.get("/healthz")
        start = time.perf_counter()
        server.process.send_signal(request.param)
        ready: list[tuple[float, int]] = []
        while not ready or (ready[-1][1] == 200 and ready[-1][0] < 5):
            code = server.get("/readyz").status_code
            ready.append((time.perf_counter() - start, code))
        alive = server.get("/healthz").status_code
        new = server.post("/hold", call("new", work.gate))
        refused = kept.post("/hold", json=call("kept", work.gate))
        time.sleep(0.5)  # the grace period is longer
        work.gate.touch()
        answers = [one.result() for one in (work.running, *work.waiting)]
        last = asynchronous.result()
        status, seconds = end(server)
        yield Drained(ready, alive, new, refused, answers, last, status, seconds, server.log())


def test_a_signal_turns_readiness_red_at_once(drained: Drained) -> None:
    """A load balancer learns at once, on a new connection, to send nothing more."""
    seconds, status = drained.ready[-1]
    assert status == 503
    assert seconds < AT_ONCE


def test_a_signal_leaves_liveness_green(drained: Drained) -> None:
    """A server that drains stays alive, so that no supervisor kills it."""
    assert drained.alive == 200


def test_a_server_that_drains_refuses_new_calls(drained: Drained) -> None:
    """A client that connects after the signal is answered 503, and told when to come back."""
    assert error(drained.new) == (503, "draining")
    assert "retry-after" in drained.new.headers


def test_a_server_that_drains_refuses_calls_on_old_connections(drained: Drained) -> None:
    """A call on a connection from before the signal is refused too."""
    assert error(drained.kept) == (503, "draining")


def test_all_that_was_admitted_is_answered(drained: Drained) -> None:
    """The running call and those behind it get their own results within the grace period."""
    names = ["running", *(f"waiting {number}" for number in range(5))]
    assert [response.json() for response in drained.answers] == names


def test_async_calls_are_answered_as_well(drained: Drained) -> None:
    """A drain waits for calls that run on the event loop."""
    assert drained.asynchronous.json() == "async"


def test_a_drained_server_ends_with_status_0(drained: Drained) -> None:
    """A clean end is not a failure."""
    assert drained.status == 0


def test_a_drained_server_ends_with_its_last_answer(drained: Drained) -> None:
    """The process waits neither for the rest of the grace period nor for an idle connection."""
    assert drained.seconds < PROMPT


def test_a_drain_leaves_no_traceback(drained: Drained) -> None:
    """A server that stops logs nothing that should worry an operator."""
    assert "Traceback" not in drained.log


def test_half_a_body_does_not_delay_the_end(start: Start) -> None:
    """A body that has not arrived was not admitted: the process does not wait for it."""
    server = start(SOURCE)
    with server.connect() as connection:
        connection.sendall(head("/hold", "Content-Length: 100") + b"{")
        server.get("/healthz")
        server.process.send_signal(SIGTERM)
        status, seconds = end(server)
    assert status == 0
    assert seconds < PROMPT


def test_a_client_that_leaves_during_the_drain_does_not_delay_the_end(
    start: Start, tmp_path: Path
) -> None:
    """A drain does not wait for a call whose client has left."""
    server = start(SOURCE)
    with server.connect() as connection:
        connection.sendall(post("/watch", {}))
        wait_until(lambda: events(server, "watch"), "the handler at work")
        server.process.send_signal(SIGTERM)
        time.sleep(0.2)
    _, seconds = end(server)
    assert seconds < PROMPT
    assert events(server) == ["watch starts", "watch cancelled"]


@dataclass
class Overdue:
    """What happened when a server was stopped while a handler never returned."""

    running: httpx.Response
    waiting: list[httpx.Response]
    seconds: float  # from the signal to the end
    status: int
    ran: list[str]  # what the handlers noted


@pytest.fixture(
    scope="module",
    params=[("python", "sleeps"), ("python", "computes"), ("uvicorn", "sleeps")],
    ids="-".join,
)
def overdue(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Overdue]:
    runner, work = request.param
    folder = tmp_path_factory.mktemp("overdue")
    target = "app" if runner == "uvicorn" else None
    with (
        serve_source(SOURCE, folder, target=target, env=SHORT) as server,
        ThreadPoolExecutor(16) as pool,
    ):
        calls = load(server, pool, "/stuck", compute=work == "computes")
        start = time.perf_counter()
        server.process.send_signal(SIGTERM)
        status = server.process.wait(10)
        seconds = time.perf_counter() - start
        waiting = [one.result() for one in calls.waiting]
        yield Overdue(calls.running.result(), waiting, seconds, status, events(server))


def test_past_the_grace_the_running_call_is_told(overdue: Overdue) -> None:
    """The handler may go on, but its caller is answered 503."""
    assert error(overdue.running) == (503, "draining")


def test_past_the_grace_waiting_calls_are_told(overdue: Overdue) -> None:
    """Each waiting call is answered 503, rather than cut off."""
    assert [error(response) for response in overdue.waiting] == [(503, "draining")] * 5


def test_past_the_grace_nothing_is_started(overdue: Overdue) -> None:
    """Calls that were refused do not run after all."""
    assert overdue.ran == ["stuck starts"]


def test_past_the_grace_the_process_ends(overdue: Overdue) -> None:
    """The process ends once the grace period is over, even if a handler never returns."""
    assert GRACE - 0.01 <= overdue.seconds < GRACE + PROMPT


def test_past_the_grace_the_end_is_a_failure(overdue: Overdue) -> None:
    """The exit status says that calls were cut off."""
    assert overdue.status != 0


def test_past_the_grace_the_end_is_a_failure_for_async_calls_too(
    start: Start, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """The exit status is a failure even if no thread is stuck and the process ends by itself."""
    server = start(SOURCE, env=SHORT)
    running = pool.submit(server.post, "/async", call("async", tmp_path / "gate"))
    wait_until(lambda: events(server, "async"), "the async handler at work")
    status = server.stop(SIGTERM)
    assert error(running.result()) == (503, "draining")
    assert status == 1


def test_past_the_grace_handlers_are_told(start: Start) -> None:
    """``request.cancelled`` becomes true for the running call."""
    server = start(SOURCE, env=SHORT)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(server.post, "/watch", {})
        wait_until(lambda: events(server, "watch"), "the handler at work")
        server.stop(SIGTERM)
    assert events(server) == ["watch starts", "watch cancelled"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(SIGTERM, SIGTERM), (SIGTERM, SIGINT), (SIGINT, SIGINT)],
    ids=lambda sig: sig.name,
)
def test_a_second_signal_ends_the_process_at_once(
    start: Start, pool: ThreadPoolExecutor, first: Signals, second: Signals
) -> None:
    """After a second signal, the process does not wait for the grace period."""
    server = start(SOURCE)
    running = pool.submit(server.post, "/stuck", {})
    wait_until(lambda: events(server, "stuck"), "the handler at work")
    server.process.send_signal(first)
    wait_until(lambda: server.get("/readyz").status_code == 503, "the drain")
    assert server.process.poll() is None
    server.process.send_signal(second)
    _, seconds = end(server)
    assert seconds < AT_ONCE + 0.3  # the operating system takes some time too
    assert running.exception() is not None or running.result().status_code == 503


def test_a_second_signal_ends_a_handler_that_computes(start: Start) -> None:
    """A second signal ends the process even if the handler never releases the GIL by itself."""
    server = start(SOURCE)
    with server.connect() as connection:
        connection.sendall(post("/stuck", {"compute": True}))
        wait_until(lambda: events(server, "stuck"), "the handler at work")
        server.process.send_signal(SIGTERM)
        wait_until(lambda: server.get("/readyz").status_code == 503, "the drain")
        server.process.send_signal(SIGTERM)
        _, seconds = end(server)
    assert seconds < AT_ONCE + 0.3


@pytest.mark.parametrize("sig", [SIGTERM, SIGINT], ids=lambda sig: sig.name)
def test_under_uvicorn_all_that_was_admitted_is_answered(
    start: Start, pool: ThreadPoolExecutor, sig: Signals
) -> None:
    """Plain ``uvicorn app:app`` answers the running call and those behind it, then ends."""
    server = start(SOURCE, target="app")
    work = load(server, pool)
    server.process.send_signal(sig)
    time.sleep(0.3)
    work.gate.touch()
    answers = [one.result().json() for one in (work.running, *work.waiting)]
    _, seconds = end(server)
    assert answers == ["running", *(f"waiting {number}" for number in range(5))]
    assert seconds < PROMPT


def test_under_uvicorn_a_signal_refuses_calls_on_old_connections(
    start: Start, pool: ThreadPoolExecutor
) -> None:
    """After the signal nothing more is admitted, though uvicorn waits for its connections."""
    server = start(SOURCE, target="app")
    with server.client() as kept:
        work = load(server, pool)
        kept.get("/healthz")
        server.process.send_signal(SIGTERM)
        time.sleep(0.3)
        with suppress(httpx.TransportError):  # uvicorn may have closed it
            assert error(kept.post("/hold", json=call("kept", work.gate))) == (503, "draining")
        work.gate.touch()
        assert work.running.result().json() == "running"
    end(server)
    assert events(server, "kept") == []


def test_under_uvicorn_a_second_signal_ends_the_process_at_once(start: Start) -> None:
    """A handler that never returns does not keep the process from ending."""
    server = start(SOURCE, target="app")
    with server.connect() as connection:
        connection.sendall(post("/stuck", {}))
        wait_until(lambda: events(server, "stuck"), "the handler at work")
        server.process.send_signal(SIGTERM)
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(SIGTERM)
        _, seconds = end(server)
    assert seconds < PROMPT
