"""A server process from its start to its end."""

import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from e2e.server import Server, Start, python, uvicorn, wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2")
FRAMES = re.compile(r'File "(.+)", line \d+, in (\w+)')
TRACEBACK = "Traceback (most recent call last)"

SOURCE = """
import time

from potassium import Potassium

app = Potassium("server")


@app.init
def init():
    return {"model": len}


@app.handler
def handler(cache: dict, json_in: dict) -> dict:
    time.sleep(json_in.get("seconds", 0))
    return {"length": cache["model"](json_in)}


if __name__ == "__main__":
    app.serve()
"""
BROKEN = SOURCE.replace('return {"model": len}', 'raise RuntimeError("no such model")')


def run(command: list[str], folder: Path, port: int) -> tuple[int, str]:
    """Run ``command`` until it ends; return its exit status and everything that it wrote."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env={"POTASSIUM_PORT": str(port), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def command(source: str, folder: Path, runner: str, port: int) -> list[str]:
    """Return the command that runs ``source`` with ``runner``: python or uvicorn."""
    app_file = folder / "app.py"
    app_file.write_text(source)
    return python(app_file) if runner == "python" else uvicorn("app:app", port)


def test_serve_says_where_it_serves(start: Start) -> None:
    """``python app.py`` writes the address to call."""
    server = start(SOURCE)
    assert server.url in server.log()


def test_serve_says_where_it_serves_once_it_is_ready(start: Start) -> None:
    """The address is not written before init has ended."""
    server = start(SOURCE.replace("return {", "print('loaded'); return {"))
    assert server.log().index("loaded") < server.log().index(server.url)


@linux
def test_the_host_comes_from_the_environment(start: Start) -> None:
    """``POTASSIUM_HOST`` overrides the default of 127.0.0.1."""
    server = start(SOURCE, env={"POTASSIUM_HOST": "0.0.0.0"})
    with closing(socket.create_connection(("127.0.0.2", server.port), 5)) as connection:
        assert connection.getpeername()[0] == "127.0.0.2"


@linux
def test_the_host_is_the_loopback(start: Start) -> None:
    """Without ``POTASSIUM_HOST`` only 127.0.0.1 is served."""
    server = start(SOURCE)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), 5)


def test_serve_passes_other_options_to_uvicorn(start: Start) -> None:
    """``app.serve(server_header=False)`` passes ``server_header`` to uvicorn."""
    server = start(SOURCE.replace("serve()", "serve(server_header=False)"))
    assert "server" not in server.get("/healthz").headers


def test_serve_takes_host_and_port(start: Start, free_port: int) -> None:
    """``app.serve(host, port)`` serves at that address."""
    arguments = f"serve('127.0.0.1', {free_port})"
    server = start(SOURCE.replace("serve()", arguments), port=free_port)
    assert server.post("/", {"a": 1}).json() == {"length": 1}


@pytest.fixture(params=["python", "uvicorn"])
def either(request: pytest.FixtureRequest, start: Start) -> Server:
    """The app, run by ``python app.py`` or by ``uvicorn app:app``."""
    return start(SOURCE, target=None if request.param == "python" else "app")


def test_uvicorn_serves_the_app(start: Start) -> None:
    """``uvicorn app:app`` needs nothing else."""
    assert start(SOURCE, target="app").post("/", {"a": 1}).json() == {"length": 1}


def test_uvicorn_without_lifespan_serves_the_app(start: Start) -> None:
    """Without a lifespan, the first request starts the app."""
    server = start(SOURCE, target="app", arguments=["--lifespan", "off"], ready="/healthz")
    assert server.post("/", {"a": 1}).json() == {"length": 1}


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_with_status_0(start: Start, sig: signal.Signals) -> None:
    """Ctrl-C and SIGTERM are how a server ends; neither is an error."""
    server = start(SOURCE)
    server.post("/", {})
    assert server.stop(sig) == 0


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_traceback(start: Start, sig: signal.Signals) -> None:
    """The log of a server that was stopped shows no error."""
    server = start(SOURCE)
    server.post("/", {})
    server.stop(sig)
    assert not re.search("Traceback|ERROR|WARNING|Exception", server.log())


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_call_that_runs_is_answered_before_the_end(either: Server, sig: signal.Signals) -> None:
    """A signal does not cut off a running call."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(either.post, "/", {"seconds": 0.3})
        wait_until(lambda: not either.status()["gpu_available"], "a handler that runs")
        either.stop(sig)
        assert call.result().json() == {"length": 1}


def test_calls_that_wait_are_answered_before_the_end(start: Start) -> None:
    """A signal does not cut off the calls that were admitted behind the running one."""
    server = start(SOURCE)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(server.post, "/", {"seconds": 0.15}) for _ in range(4)]
        wait_until(lambda: server.status()["queue"]["length"] == 3, "calls in the queue")
        server.stop(signal.SIGTERM)
        assert [call.result().status_code for call in calls] == [200] * 4


def test_an_idle_connection_does_not_delay_the_end(start: Start) -> None:
    """A client that keeps its connection open does not keep the process alive."""
    server = start(SOURCE)
    with server.client() as http:
        http.post("/", json={})
        assert server.stop() == 0


@pytest.mark.parametrize("runner", ["python", "uvicorn"])
def test_an_init_that_raises_ends_the_process(tmp_path: Path, free_port: int, runner: str) -> None:
    """The exit status says that the model could not be loaded."""
    status, _ = run(command(BROKEN, tmp_path, runner, free_port), tmp_path, free_port)
    assert status > 0


@pytest.mark.parametrize("runner", ["python", "uvicorn"])
def test_an_init_that_raises_is_logged_once(tmp_path: Path, free_port: int, runner: str) -> None:
    """The log has one traceback, and it ends with what init raised."""
    _, log = run(command(BROKEN, tmp_path, runner, free_port), tmp_path, free_port)
    assert log.count(TRACEBACK) == log.count("RuntimeError: no such model") == 1


@pytest.mark.parametrize("runner", ["python", "uvicorn"])
def test_an_init_that_raises_is_shown_by_its_own_lines(
    tmp_path: Path, free_port: int, runner: str
) -> None:
    """The traceback begins at init: the files in it are the user's."""
    _, log = run(command(BROKEN, tmp_path, runner, free_port), tmp_path, free_port)
    assert FRAMES.findall(log) == [(str(tmp_path / "app.py"), "init")]


def test_a_mistake_that_shows_at_the_start_is_told_by_its_message(
    tmp_path: Path, free_port: int
) -> None:
    """The log has no frames, which would lead nowhere in an incomplete app."""
    source = """
from potassium import Potassium

app = Potassium("server")


@app.result_webhook(url="http://localhost/")
def handler(cache: dict, json_in: dict) -> dict: ...
"""
    status, log = run(command(source, tmp_path, "uvicorn", free_port), tmp_path, free_port)
    assert status > 0
    assert "UsageError: handler has @app.result_webhook but no @app.handler" in log
    assert FRAMES.findall(log) == []


@pytest.mark.parametrize("raised", ["SystemExit('bye')", "KeyboardInterrupt()"])
def test_an_init_that_exits_ends_the_process(tmp_path: Path, free_port: int, raised: str) -> None:
    """``SystemExit`` and ``KeyboardInterrupt`` in init are failures too."""
    source = BROKEN.replace('RuntimeError("no such model")', raised)
    status, _ = run(command(source, tmp_path, "python", free_port), tmp_path, free_port)
    assert status != 0


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """The log says which address is in use, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        _, log = run(command(SOURCE, tmp_path, "python", port), tmp_path, port)
    assert str(port) in log
    assert "in use" in log
    assert TRACEBACK not in log


def test_a_port_in_use_ends_the_process(tmp_path: Path) -> None:
    """The exit status says that nothing is served."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, _ = run(command(SOURCE, tmp_path, "python", port), tmp_path, port)
    assert status > 0


def test_a_port_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """The message names the environment variable."""
    app = command(SOURCE, tmp_path, "python", 0)
    ended = subprocess.run(
        app,
        env={"POTASSIUM_PORT": "http"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "POTASSIUM_PORT" in ended.stderr.splitlines()[-1]
