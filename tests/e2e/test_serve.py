"""``potassium serve``, with and without a reload, as a process."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.server import Server, serve, wait_until

APP = """
import os, threading, time
from potassium import Potassium
from words import greet

app = Potassium("reloading")

@app.init
def init():
    print("INIT", flush=True)
    while os.path.exists("hold"):
        time.sleep(0.01)
    return {"model": object()}

@app.handler("/")
def handle(cache, json_in):
    return {"said": greet(), "model": id(cache["model"]), "pid": os.getpid()}
"""
WORDS = "def greet():\n    return 'hello'\n"
COMMAND = [sys.executable, "-m", "potassium", "serve"]


@contextmanager
def served(
    folder: Path, free_port: int, *arguments: str, env: dict[str, str] | None = None
) -> Iterator[Server]:
    (folder / "app.py").write_text(APP)
    (folder / "words.py").write_text(WORDS)
    log = folder / "server.log"
    with serve([*COMMAND, *arguments], log, port=free_port, cwd=folder, env=env) as server:
        yield server


def said(server: Server) -> str:
    text: str = server.post(json={}).json()["said"]
    return text


def test_an_app_is_served_from_its_folder(tmp_path: Path, free_port: int) -> None:
    with served(tmp_path, free_port) as server:
        assert said(server) == "hello"
        assert server.stop() == 0


def test_code_is_reloaded_in_the_process_and_the_model_stays(
    tmp_path: Path, free_port: int
) -> None:
    with served(tmp_path, free_port, "app.py", "--reload") as server:
        before = server.post(json={}).json()
        (tmp_path / "words.py").write_text(WORDS.replace("hello", "hi"))
        wait_until(lambda: said(server) == "hi", "the new code answers")
        after = server.post(json={}).json()

        assert (after["model"], after["pid"]) == (before["model"], before["pid"])
        assert server.log().count("INIT") == 1
        assert "reloaded words in" in server.log()
        assert server.stop() == 0


def test_an_error_is_shown_and_the_old_code_goes_on(tmp_path: Path, free_port: int) -> None:
    with served(tmp_path, free_port, "app.py", "--reload") as server:
        (tmp_path / "words.py").write_text("def greet(:\n")
        wait_until(lambda: "SyntaxError" in server.log(), "the error is shown")

        assert 'words.py", line 1' in server.log()
        assert said(server) == "hello"
        assert server.stop() == 0


def test_a_signal_ends_the_server_while_the_model_is_loaded_again(
    tmp_path: Path, free_port: int
) -> None:
    with served(tmp_path, free_port, "app.py", "--reload") as server:
        (tmp_path / "hold").touch()
        (tmp_path / "app.py").write_text(APP.replace("object()", "[]"))
        wait_until(lambda: server.log().count("INIT") == 2, "init runs again")
        began = time.monotonic()

        assert server.stop(signal.SIGTERM) != 0
        assert time.monotonic() - began < 5


def test_a_signal_ends_the_server_while_a_change_is_imported(
    tmp_path: Path, free_port: int
) -> None:
    with served(tmp_path, free_port, "app.py", "--reload") as server:
        endless = "import threading\nprint('IMPORT', flush=True)\nthreading.Event().wait()\n"
        (tmp_path / "words.py").write_text(endless + WORDS)
        wait_until(lambda: "IMPORT" in server.log(), "the import has begun")
        began = time.monotonic()

        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 5


def test_a_call_in_flight_ends_before_the_server_does(tmp_path: Path, free_port: int) -> None:
    slow = APP + (
        '\n@app.handler("/slow")\nasync def slow(cache, json_in):\n'
        "    import asyncio\n    print('SLOW', flush=True)\n"
        "    await asyncio.sleep(0.3)\n    return {}\n"
    )
    with served(tmp_path, free_port, "app.py", "--reload") as server:
        (tmp_path / "app.py").write_text(slow)
        wait_until(lambda: "reloaded app" in server.log(), "the new handler is there")
        with subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import httpx; print(httpx.post('{server.url}/slow', json={{}}))",
            ],
            stdout=subprocess.PIPE,
        ) as client:
            wait_until(lambda: "SLOW" in server.log(), "the call runs")
            assert server.stop(signal.SIGTERM) == 0
            assert client.stdout is not None
            assert b"200" in client.stdout.read()


@pytest.mark.parametrize("more", [(), ("--reload",)], ids=["plain", "reload"])
def test_options_outweigh_the_environment(
    tmp_path: Path, free_port: int, more: tuple[str, ...]
) -> None:
    """The address, the format of the log and its level."""
    options = ("--host", "127.0.0.1", "--port", str(free_port), "--log", "json", *more)
    others = {"POTASSIUM_PORT": "1", "POTASSIUM_HOST": "192.0.2.1", "POTASSIUM_LOG": "text"}
    with served(tmp_path, free_port, "app.py", *options, "--access-log", env=others) as server:
        assert said(server) == "hello"
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log().splitlines() if line != "INIT"]
    assert "potassium.access" in {line["logger"] for line in lines}


@pytest.mark.parametrize("more", [(), ("--reload",)], ids=["plain", "reload"])
def test_the_log_has_lines_of_the_level_and_above(
    tmp_path: Path, free_port: int, more: tuple[str, ...]
) -> None:
    options = ("app.py", "--log-level", "error", *more)
    with served(tmp_path, free_port, *options) as server:
        assert said(server) == "hello"
        assert server.stop() == 0
        assert server.log() == "INIT\n"


@pytest.mark.parametrize("name", ["PORT", "AIP_HTTP_PORT", "POTASSIUM_PORT"])
def test_the_port_comes_from_the_environment(tmp_path: Path, free_port: int, name: str) -> None:
    port = {"POTASSIUM_PORT": "", name: str(free_port)}
    with served(tmp_path, free_port, env=port) as server:
        assert said(server) == "hello"


def test_an_error_of_the_app_is_shown_with_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import potassium\nnothing()\n")

    run = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert 'app.py", line 2' in run.stderr
    assert "NameError: name 'nothing' is not defined" in run.stderr
    assert "importlib" not in run.stderr


def test_what_is_wrong_with_the_command_is_said_in_a_line(tmp_path: Path) -> None:
    run = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert run.stderr.startswith("Error: There is no app in ")
    assert run.stderr.count("\n") == 1
