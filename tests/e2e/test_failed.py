"""Handler failures that matter beyond their own call."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from e2e.server import Server, Start, error, python, serve_source, wait_until
from e2e.server import free_port as find_free_port
from e2e.wire import RECORD, answer, call, events, head, post

PROMPT = 2.0  # seconds that a failed process may take to answer everybody and to end
HANG_TIMEOUT = 0.6  # seconds

SOURCE = (
    RECORD
    + """
import torch

from potassium import Potassium

app = Potassium("server")
DEVICE = torch.cuda  # stands for one that is lost as soon as it is asked
DEVICE.is_initialized = lambda: True
DEVICE.empty_cache = lambda: None


def synchronize():
    raise torch.AcceleratorError("CUDA error: device-side assert triggered")


DEVICE.synchronize = synchronize
ERRORS = {
    "out of memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    "assert": torch.AcceleratorError("CUDA error: device-side assert triggered"),
    "cublas": RuntimeError(
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"
    ),
    "harmless": torch.AcceleratorError("CUDA error: invalid argument"),
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
}


@app.handler
def raises(cache, json_in):
    note(f"{json_in['name']} starts")
    if "gate" in json_in:
        wait_for(json_in["gate"])
    if len([line for line in open("events") if json_in["name"] in line]) <= json_in["times"]:
        raise ERRORS[json_in["error"]]
    return json_in["name"]


if __name__ == "__main__":
    app.serve()
"""
)
STUCK = (
    RECORD
    + f"""
import threading

from potassium import Limits, Potassium

app = Potassium("server", limits=Limits(hang_timeout={HANG_TIMEOUT}))


@app.handler("/stuck", timeout=0.2)
def stuck(cache, json_in):
    note("stuck")
    if json_in.get("compute"):
        while True:
            pass
    threading.Event().wait()


@app.handler("/hold")
def wait(cache, json_in):
    return hold(json_in)


if __name__ == "__main__":
    app.serve()
"""
)


@pytest.fixture
def name() -> str:
    return uuid4().hex


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that must survive all of these tests."""
    with serve_source(SOURCE, tmp_path_factory.mktemp("survivor")) as server:
        yield server


def fail(name: str, what: str, times: int = 1000) -> dict[str, object]:
    """Return the body of a call that raises ``what`` in its first ``times`` runs."""
    return {"name": name, "error": what, "times": times}


def test_a_call_out_of_memory_is_tried_again(server: Server, name: str) -> None:
    """A call that runs out of memory once and then fits is served."""
    assert server.post("/", fail(name, "out of memory", 1)).json() == name


def test_a_call_out_of_memory_twice_is_told_so(server: Server, name: str) -> None:
    """A call that runs out of memory again is answered 503, with its own code."""
    assert error(server.post("/", fail(name, "out of memory"))) == (503, "out_of_memory")


def test_a_call_out_of_memory_is_tried_again_once(server: Server, name: str) -> None:
    """The handler runs twice, not more: the memory may be gone for good."""
    server.post("/", fail(name, "out of memory"))
    assert events(server, name) == [f"{name} starts"] * 2


@pytest.mark.parametrize("what", ["out of memory", "harmless", "SystemExit", "KeyboardInterrupt"])
def test_an_error_that_leaves_the_device_intact_ends_one_call(
    server: Server, name: str, what: str
) -> None:
    """The server stays alive and ready, and the next call is served by the same process."""
    assert server.post("/", fail(name, what)).status_code >= 500
    pages = [server.get(path).status_code for path in ("/healthz", "/readyz")]
    assert pages == [200, 200]
    assert server.post("/", fail(name, what, 0)).json() == name
    assert server.process.poll() is None


def test_an_error_that_is_not_about_memory_is_not_tried_again(server: Server, name: str) -> None:
    """The handler runs once, and its caller gets a 500."""
    assert error(server.post("/", fail(name, "harmless"))) == (500, "handler_error")
    assert events(server, name) == [f"{name} starts"]


@dataclass
class End:
    """How a process ended, and what its callers got."""

    server: Server
    culprit: httpx.Response  # to the call that broke the device
    waiting: list[httpx.Response]  # to the calls behind it
    status: int  # of the process, on exit
    seconds: float  # from the fault to the end of the process


def break_it(server: Server, body: dict[str, object], gate: Path) -> End:
    """Queue calls behind one that raises, let it raise, and wait for the process to end."""
    with (
        ThreadPoolExecutor(8) as pool,
        server.client() as idle,
        server.connect() as half_sent,
    ):
        idle.get("/healthz")
        half_sent.sendall(head("/", "Content-Length: 100") + b"{")
        culprit = pool.submit(server.post, "/", {**body, "gate": str(gate)})
        wait_until(lambda: events(server, str(body["name"])), "the handler at work")
        behind = [pool.submit(server.post, "/", fail("behind", "assert", 0)) for _ in range(5)]
        wait_until(lambda: server.status()["queue"]["length"] == 5, "calls in the queue")
        start = time.perf_counter()
        gate.touch()
        status = server.process.wait(20)
        seconds = time.perf_counter() - start
        waiting = [call.result() for call in behind]
        return End(server, culprit.result(), waiting, status, seconds)


@pytest.fixture(scope="module", params=["assert", "cublas"])
def end(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[End]:
    folder = tmp_path_factory.mktemp("poisoned")
    with serve_source(SOURCE, folder) as server:
        yield break_it(server, fail("culprit", request.param), folder / "gate")


def test_an_error_that_poisons_the_device_ends_the_process(end: End) -> None:
    """The exit status is a failure, so that a supervisor starts a new process."""
    assert end.status > 0


def test_a_poisoned_device_ends_the_process_soon(end: End) -> None:
    """Neither idle connections nor half-sent requests keep the process alive."""
    assert end.seconds < PROMPT


def test_callers_that_wait_for_a_poisoned_device_are_told(end: End) -> None:
    """Each caller gets its 503 at once, and may try another server."""
    assert [error(response) for response in end.waiting] == [(503, "worker_failed")] * 5


def test_the_call_that_poisoned_the_device_is_answered(end: End) -> None:
    """The call gets an error rather than a broken connection."""
    assert end.culprit.status_code in (500, 503)


def test_nothing_runs_on_a_poisoned_device(end: End) -> None:
    """The calls behind the one that poisoned the device never start."""
    assert events(end.server, "behind") == []


def test_a_poisoned_device_is_logged_with_its_cause(end: End) -> None:
    """The log shows the operator what the device reported."""
    assert re.search("CUDA error: (device-side assert|CUBLAS)", end.server.log())


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server under plain uvicorn, which goes on after the device is lost."""
    folder = tmp_path_factory.mktemp("failed")
    with serve_source(SOURCE, folder, target="app") as server:
        server.post("/", fail("culprit", "assert"))
        yield server


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_server_without_its_device_is_neither_alive_nor_ready(failed: Server, path: str) -> None:
    """Both probes are red, so that a supervisor replaces the server."""
    assert failed.get(path).status_code == 503


def test_calls_to_a_server_without_its_device_are_refused(failed: Server) -> None:
    """Each is answered 503 at once, and none runs."""
    assert error(failed.post("/", fail("after", "assert", 0))) == (503, "worker_failed")
    assert events(failed, "after") == []


def test_a_server_without_its_device_can_be_stopped(start: Start) -> None:
    """A signal ends this server like any other."""
    server = start(SOURCE, target="app")
    server.post("/", fail("culprit", "assert"))
    begin = time.perf_counter()
    server.stop()
    assert time.perf_counter() - begin < PROMPT


@dataclass
class Stuck:
    """What happened to a server whose handler never returned."""

    server: Server
    culprit: httpx.Response
    waiting: httpx.Response  # to a call behind it, without a deadline
    status: int
    seconds: float  # from the call to the end of the process


@pytest.fixture(scope="module", params=[False, True], ids=["waits", "computes"])
def stuck(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stuck]:
    folder = tmp_path_factory.mktemp("stuck")
    with serve_source(STUCK, folder) as server, ThreadPoolExecutor(2) as pool:
        start = time.perf_counter()
        culprit = pool.submit(server.post, "/stuck", {"compute": request.param})
        wait_until(lambda: events(server, "stuck"), "the handler at work")
        waiting = pool.submit(server.post, "/hold", call("behind", folder / "gate"))
        status = server.process.wait(20)
        seconds = time.perf_counter() - start
        yield Stuck(server, culprit.result(), waiting.result(), status, seconds)


def test_the_caller_of_a_handler_that_never_returns_has_its_deadline(stuck: Stuck) -> None:
    """The caller is answered 504 long before anybody knows that the handler is stuck."""
    assert error(stuck.culprit) == (504, "deadline_exceeded")


def test_calls_behind_a_handler_that_never_returns_are_told(stuck: Stuck) -> None:
    """After ``hang_timeout``, these calls are answered 503 rather than left waiting."""
    assert error(stuck.waiting) == (503, "worker_failed")


def test_nothing_runs_beside_a_handler_that_never_returns(stuck: Stuck) -> None:
    """No second thread takes over."""
    assert events(stuck.server, "behind") == []


def test_a_handler_that_never_returns_ends_the_process(stuck: Stuck) -> None:
    """After ``hang_timeout``, not before, the process ends with a failure."""
    assert stuck.status > 0
    assert HANG_TIMEOUT <= stuck.seconds < HANG_TIMEOUT + PROMPT


def test_a_handler_that_never_returns_turns_liveness_red(start: Start, tmp_path: Path) -> None:
    """Liveness is green until ``hang_timeout`` and red after it, for a supervisor to see."""
    server = start(STUCK, target="app")
    assert server.post("/stuck", {}).status_code == 504
    before = server.get("/healthz").status_code
    wait_until(lambda: server.get("/healthz").status_code == 503, "a red liveness", seconds=2)
    assert before == 200
    assert error(server.post("/hold", call("after", tmp_path / "gate"))) == (503, "worker_failed")


def test_a_handler_within_its_hang_timeout_is_not_stuck(start: Start, tmp_path: Path) -> None:
    """Calls under ``hang_timeout`` do not add up to a hang, and idling is not a hang either."""
    server = start(STUCK)
    gate = tmp_path / "gate"
    for _ in range(2):
        with server.connect() as connection:
            connection.sendall(post("/hold", call("slow", gate)))
            time.sleep(HANG_TIMEOUT * 0.6)
            gate.touch()
            assert answer(connection).status == 200
            gate.unlink()
    time.sleep(HANG_TIMEOUT * 1.5)
    assert server.get("/healthz").status_code == 200


def test_a_server_whose_init_raises_never_answers(tmp_path: Path) -> None:
    """No client that asks while ``init`` runs, or after it, is told that the server is ready."""
    source = RECORD + (
        "from potassium import Potassium\n"
        "app = Potassium('server')\n"
        "@app.init\n"
        "def init():\n"
        "    time.sleep(0.5)\n"
        "    raise RuntimeError('no such model')\n"
        "@app.handler\n"
        "def handler(cache, json_in): return 1\n"
        "app.serve()\n"
    )
    (tmp_path / "app.py").write_text(source)
    port = find_free_port()
    answered = []
    with (
        subprocess.Popen(
            python(tmp_path / "app.py"),
            env={**os.environ, "POTASSIUM_PORT": str(port)},
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=1) as http,
    ):
        while process.poll() is None and 200 not in answered:
            with suppress(httpx.TransportError):
                answered.append(http.get("/readyz").status_code)
            time.sleep(0.02)
        process.kill()
    assert 200 not in answered
    assert process.returncode > 0
