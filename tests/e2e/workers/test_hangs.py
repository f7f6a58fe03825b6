"""A worker that hangs, is stopped, or has lost its accelerator is killed and replaced."""

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from e2e.server import error, wait_until
from e2e.streams import SSE, open_stream, problem
from e2e.workers.processes import (
    AT_ONCE,
    HEAD,
    SERVE,
    START_TIME,
    TIMEOUT,
    Answered,
    Caller,
    crew,
    is_gone,
    order,
    runs,
    workers,
)

pytestmark = TIMEOUT
HANG_TIMEOUT = 2.0  # seconds; nothing that goes on takes a tenth of it
FAILED = (503, "worker_failed")
SOURCE = (
    HEAD
    + f"""
app = Potassium(
    "server", workers=Workers(["cpu", "cpu"]), limits=Limits(hang_timeout={HANG_TIMEOUT})
)


def compute():
    while True:
        pass


WAYS = {{
    "computes": compute,
    "holds the GIL": lambda: ctypes.PyDLL(None).sleep(600),
}}


@app.init
def init():
    note(f"init {{os.getpid()}}")


@app.handler("/hang", timeout=600)
def hang(cache, json_in):
    note(f"{{json_in['name']}} {{os.getpid()}}")
    WAYS[json_in["name"]]()


@app.handler("/late", timeout=1.0)
def late(cache, json_in):
    note(f"{{json_in['name']}} {{os.getpid()}}")
    threading.Event().wait()


@app.handler("/stream", streams=4)
def stream(cache, json_in):
    note(f"{{json_in['name']}} {{os.getpid()}}")
    yield "chunk"
    threading.Event().wait()


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)
"""
    + SERVE
)


@dataclass
class Hung:
    """What happened when a worker hung in a call, beside another one that served."""

    pid: int
    ended: Answered
    seconds: float  # from the beginning of the hang until its caller heard
    meanwhile: list[int]  # the processes that served others
    log: str = ""


def hang(caller: Caller, name: str) -> Hung:
    """Let a worker hang, and send calls until that one is answered."""
    begin = time.monotonic()
    call = caller.send("/hang", name)
    wait_until(lambda: runs(caller.server, name), "the handler at work")
    (pid,) = runs(caller.server, name)
    meanwhile = []
    while not is_gone(pid):
        assert time.monotonic() < begin + START_TIME, "a worker that hangs for ever"
        meanwhile.append(caller.send("/run", "meanwhile").result().pid)
    ended = call.result()
    return Hung(pid, ended, ended.at - begin, meanwhile)


@pytest.fixture(scope="module", params=["computes", "holds the GIL"])
def hung(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hung]:
    with crew(tmp_path_factory.mktemp("hang"), SOURCE) as caller:
        old = workers(caller.server)
        found = hang(caller, request.param)
        caller.served_by_two(old)
        yield replace(found, log=caller.server.log())


def test_the_caller_of_a_worker_that_hangs_gets_503(hung: Hung) -> None:
    """After ``hang_timeout``, not before."""
    assert hung.ended.error == FAILED
    assert HANG_TIMEOUT <= hung.seconds < HANG_TIMEOUT + 5 * AT_ONCE


def test_others_are_served_beside_a_worker_that_hangs(hung: Hung) -> None:
    """Every call that is sent meanwhile, by the other worker."""
    assert hung.meanwhile
    assert hung.pid not in hung.meanwhile


def test_the_log_names_the_handler_that_hangs(hung: Hung) -> None:
    """And says that its worker is killed for it."""
    assert f"/hang has not returned for {HANG_TIMEOUT:g} s" in hung.log


def test_a_caller_with_a_deadline_gets_504_from_a_worker_that_hangs(tmp_path: Path) -> None:
    """Before anybody knows that it hangs; its worker is replaced all the same."""
    with crew(tmp_path, SOURCE) as caller:
        old = workers(caller.server)
        assert caller.send("/late", "late").result().error == (504, "deadline_exceeded")
        wait_until(lambda: is_gone(runs(caller.server, "late")[0]), "the end of the worker")
        caller.served_by_two(old)


def test_a_stream_of_a_worker_that_hangs_ends_with_an_error(tmp_path: Path) -> None:
    """Past ``hang_timeout`` without a chunk."""
    with (
        crew(tmp_path, SOURCE) as caller,
        open_stream(caller.server, "/stream", {"name": "stream"}, SSE) as stream,
    ):
        assert stream.event().data == "chunk"
        assert problem(stream.last_events()[-1]) == FAILED


def test_a_stopped_worker_is_killed_and_its_caller_gets_503(tmp_path: Path) -> None:
    """It cannot say anything itself (SIGSTOP), and the other worker serves meanwhile."""
    with crew(tmp_path, SOURCE) as caller:
        old = workers(caller.server)
        call, pid = caller.occupy("/run", "stopped")
        os.kill(pid, signal.SIGSTOP)
        meanwhile = [caller.send("/run", f"meanwhile {n}").result().pid for n in range(5)]
        ended = call.result()
        assert ended.error == FAILED
        assert pid not in meanwhile
        wait_until(lambda: is_gone(pid), "the end of the worker")
        caller.served_by_two(old)


def test_calls_that_a_stopped_worker_never_began_run_elsewhere(tmp_path: Path) -> None:
    """It is stopped while it is idle; each call is served, once."""
    with crew(tmp_path, SOURCE) as caller:
        pid = workers(caller.server)[0]
        os.kill(pid, signal.SIGSTOP)
        calls = [caller.send("/run", f"call {number}") for number in range(20)]
        assert pid not in {one.result().pid for one in calls}
        assert sorted(order(caller.server, "call")) == sorted(one.name for one in calls)


def test_a_worker_that_is_stopped_for_a_moment_goes_on(tmp_path: Path) -> None:
    """Within ``hang_timeout``, nobody notices."""
    with crew(tmp_path, SOURCE) as caller:
        old = workers(caller.server)
        call, pid = caller.occupy("/run", "stopped")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(HANG_TIMEOUT / 3)
        os.kill(pid, signal.SIGCONT)
        assert call.go_on().pid == pid
        assert workers(caller.server) == old


def test_idle_workers_do_not_hang(tmp_path: Path) -> None:
    """Nothing runs on them for longer than ``hang_timeout``, and they are the same as before."""
    with crew(tmp_path, SOURCE) as caller:
        old = workers(caller.server)
        time.sleep(2 * HANG_TIMEOUT)
        assert workers(caller.server) == old


def test_no_call_waits_behind_a_slow_one_while_a_worker_is_idle(tmp_path: Path) -> None:
    """Not even if its handler has always been fast, so that it could be expected to end soon."""
    source = SOURCE.replace(f"hang_timeout={HANG_TIMEOUT}", "hang_timeout=600")
    with crew(tmp_path, source) as caller:
        with caller.server.client() as http:
            for number in range(300):
                assert http.post("/run", json={"name": f"{number}"}).status_code == 200
        first, _ = caller.occupy("/run", "first")
        caller.occupy("/run", "second")
        calls = [caller.send("/run", f"behind {number}") for number in range(3)]
        wait_until(lambda: caller.length() == 3, "calls that wait")
        first.go_on()
        wait_until(lambda: len(runs(caller.server, "behind")) == 3, "their turn")
        assert [one.result().response.status_code for one in calls] == [200] * 3


POISONED = (
    HEAD
    + """
import types

torch = types.ModuleType("torch")  # as far as it is looked at; its device is lost once asked
torch.AcceleratorError = type("AcceleratorError", (RuntimeError,), {})
torch.OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})
torch.Tensor = type("Tensor", (), {})
torch.device = type("device", (), {})
torch.is_inference_mode_enabled = lambda: False
torch.is_grad_enabled = lambda: True
torch.is_autocast_enabled = lambda device: False
torch.get_autocast_dtype = lambda device: None
torch.cuda = types.SimpleNamespace(is_initialized=lambda: True, empty_cache=lambda: None)
sys.modules["torch"] = torch

app = Potassium("server", workers=Workers(["cpu", "cpu"]))


def synchronize():
    raise torch.AcceleratorError("CUDA error: device-side assert triggered")


torch.cuda.synchronize = synchronize
ERRORS = {
    "assert": torch.AcceleratorError("CUDA error: device-side assert triggered"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `sgemm`"),
    "harmless": torch.AcceleratorError("CUDA error: invalid argument"),
}


@app.init
def init():
    note(f"init {os.getpid()}")


@app.handler("/raises")
def raises(cache, json_in):
    note(f"{json_in['name']} {os.getpid()}")
    raise ERRORS[json_in["name"]]


@app.handler("/stream")
def stream(cache, json_in):
    yield "chunk"
    wait_for(json_in["gate"])
    note(f"stream {os.getpid()}")
    raise ERRORS["assert"]


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)
"""
    + SERVE
)


@pytest.mark.parametrize("what", ["assert", "cublas"])
def test_a_worker_whose_accelerator_is_lost_is_replaced(tmp_path: Path, what: str) -> None:
    """Its call gets an error, and the server stays alive and ready."""
    with crew(tmp_path, POISONED) as caller:
        old = workers(caller.server)
        held, other = caller.occupy("/run", "held")
        ended = caller.send("/raises", what).result()
        (pid,) = runs(caller.server, what)
        assert ended.error in [FAILED, (500, "handler_error")]
        wait_until(lambda: is_gone(pid), "the end of the worker")
        pages = [caller.server.get(page).status_code for page in ("/healthz", "/readyz")]
        assert pages == [200, 200]
        assert held.go_on().pid == other
        caller.served_by_two(old)
        assert "CUDA error: " in caller.server.log()


def test_the_log_shows_where_an_accelerator_was_lost(tmp_path: Path) -> None:
    """The device reports an error of a handler: its traceback leads there."""
    with crew(tmp_path, POISONED) as caller:
        caller.send("/raises", "assert").result()
        wait_until(lambda: is_gone(runs(caller.server, "assert")[0]), "the end of the worker")
        wait_until(lambda: "a new one loads" in caller.server.log(), "a line on the log")
        assert re.search(r'app\.py", line \d+, in raises', caller.server.log())


def test_an_error_that_leaves_the_accelerator_intact_leaves_its_worker(tmp_path: Path) -> None:
    """The caller gets 500, and both workers are the same as before."""
    with crew(tmp_path, POISONED) as caller:
        old = workers(caller.server)
        answer = caller.server.post("/raises", {"name": "harmless"})
        assert error(answer) == (500, "handler_error")
        assert caller.send("/run", "after").result().pid in old
        assert workers(caller.server) == old


def test_a_stream_whose_accelerator_is_lost_ends_with_an_error(tmp_path: Path) -> None:
    """And its worker is replaced."""
    with crew(tmp_path, POISONED) as caller:
        old = workers(caller.server)
        body = {"gate": str(tmp_path / "gate")}
        with open_stream(caller.server, "/stream", body, SSE) as stream:
            assert stream.event().data == "chunk"
            (tmp_path / "gate").touch()
            assert problem(stream.last_events()[-1])[0] >= 500
        wait_until(lambda: is_gone(runs(caller.server, "stream")[0]), "the end of the worker")
        caller.served_by_two(old)
