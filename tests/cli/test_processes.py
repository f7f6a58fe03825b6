"""Commands as processes of their own: on a terminal, and when they are interrupted."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run
from click.testing import CliRunner
from e2e.server import Server, Start

from potassium.cli.main import cli

SOURCE = """
import time
from pathlib import Path
from potassium import Jobs, Potassium, Request

app = Potassium("tested", jobs=Jobs(path=None))

@app.handler("/waits")
def waits(cache, request: Request):
    while not request.cancelled:
        time.sleep(0.005)

@app.handler("/words")
def words(cache, json_in):
    yield "Once"
    while True:
        time.sleep(0.005)
        yield ""

@app.handler("/quick")
def quick(cache, json_in):
    return {"b": "x" * 90, "a": [1, 2]}

@app.handler("/binary")
def binary(cache, json_in):
    return b"\\x1b]0;"

@app.background("/train")
def train(cache, request: Request):
    request.progress(0.5, "half")
    while not Path("go").exists():
        time.sleep(0.005)
    return 7

app.serve()
"""


@pytest.fixture
def server(start: Start) -> Server:
    server: Server = start(SOURCE)
    return server


def command(*arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "potassium", *arguments], **options)


def piped(*arguments: str) -> "subprocess.Popen[bytes]":
    return command(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until(is_true: Callable[[], Any]) -> None:
    """Return once ``is_true`` is, which must be within ten seconds."""
    end = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


def runs(server: Server) -> bool:
    return server.status()["running"] is not None


def on_terminal(*arguments: str, interrupt_at: bytes | None = None) -> tuple[int, str]:
    """Return the exit status of a command on a terminal, and all that it has written there.

    With ``interrupt_at``, it is interrupted once it has written that.
    """
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
        process = command(*arguments, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        written = b""
        try:
            while data := terminal.read(65536):
                written += data
                if interrupt_at is not None and interrupt_at in written:
                    process.send_signal(signal.SIGINT)
                    interrupt_at = None
        except OSError:  # Linux says in this way that the other side is closed
            pass
        return process.wait(10), written.decode().replace("\r\n", "\n")


def test_an_interrupt_calls_off_the_call(server: Server) -> None:
    """The handler is told, and the exit status is 130."""
    process = piped("call", server.url, "/waits")
    until(lambda: runs(server))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == 130
    until(lambda: server.status()["counts"]["cancelled"] == 1)


def test_an_interrupt_ends_a_stream(server: Server) -> None:
    """What has come is printed."""
    process = piped("call", server.url, "/words")
    assert process.stdout is not None
    assert process.stdout.read(4) == b"Once"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    until(lambda: not runs(server) and server.status()["open_streams"] == 0)
    process.communicate()


def test_an_interrupt_leaves_a_job_alone(server: Server, tmp_path: Path) -> None:
    """It is said how to see it; ``jobs cancel`` would end it."""
    process = piped("call", server.url, "/train", "--background")
    until(lambda: runs(server))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, b"")
    job_id = err.decode().split()[1]
    assert f"potassium jobs show {server.url} {job_id}" in err.decode()
    assert server.get(f"/jobs/{job_id}").json()["status"] == "running"
    Path(tmp_path, "go").touch()


def test_a_job_that_takes_too_long_goes_on(server: Server, tmp_path: Path) -> None:
    """``--timeout`` ends the wait, with the status 1."""
    process = piped("call", server.url, "/train", "--background", "--timeout", "0.2")
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, b"")
    assert b"The job has not ended within 0.2 s. It goes on: potassium jobs show" in err
    assert server.status()["jobs"]["running"] == 1
    Path(tmp_path, "go").touch()


def test_a_queued_job_is_cancelled_and_one_that_runs_is_told(
    run: Run, server: Server, tmp_path: Path
) -> None:
    """One that runs has no output to write."""
    first, second = (server.post("/train", {}).json()["id"] for _ in range(2))
    until(lambda: runs(server))
    result = run("jobs", "show", server.url, first, "-o", "x")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: The job has no output: it is running.\n",
    )
    result = run("jobs", "cancel", server.url, second, first)
    assert result.stdout.splitlines() == [
        f"{second} cancelled",
        f"{first} is running: its handler is told to stop",
    ]
    Path(tmp_path, "go").touch()


def test_a_call_that_takes_too_long_is_said(run: Run, server: Server) -> None:
    """With the exit status 1; the handler is told to stop."""
    result = run("call", server.url, "/waits", "--timeout", "0.1")
    assert result.exit_code == 1
    assert "not answered in time" in result.stderr or "504 deadline_exceeded" in result.stderr
    until(lambda: not runs(server))


def test_an_interrupted_load_prints_what_it_has(server: Server) -> None:
    """With the exit status 130."""
    process = piped("bench", server.url, "/quick", "-d", "60", "--warmup", "0", "--json")
    until(lambda: server.status()["counts"]["succeeded"] > 5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, b"")
    assert b'"ended_early":true' in out
    assert b'"calls":0' not in out


def test_json_is_laid_out_on_a_terminal(server: Server) -> None:
    """And as it came in a pipe."""
    status, text = on_terminal("call", server.url, "/quick")
    assert (status, text) == (0, '{\n  "b": "' + "x" * 90 + '",\n  "a": [1, 2]\n}\n')
    piped_text = piped("call", server.url, "/quick").communicate(timeout=10)[0]
    assert piped_text == b'{"b":"' + b"x" * 90 + b'","a":[1,2]}\n'


def test_binary_results_are_kept_from_a_terminal(server: Server) -> None:
    """They could do anything with it; ``-o -`` insists."""
    status, text = on_terminal("call", server.url, "/binary")
    assert status == 2
    assert "write it to a file with -o FILE" in text
    assert "]0;" not in text
    assert "]0;" in on_terminal("call", server.url, "/binary", "-o", "-")[1]


def test_progress_is_shown_on_a_terminal_and_taken_away(server: Server, tmp_path: Path) -> None:
    """The result is what stays."""
    Path(tmp_path, "go").touch()
    status, text = on_terminal("call", server.url, "/train", "--background")
    assert status == 0
    assert " 50% half" in text
    assert text.endswith("\x1b[1A\x1b[J7\n")


def test_what_is_said_of_a_job_that_goes_on_stays_on_the_terminal(
    server: Server, tmp_path: Path
) -> None:
    """Progress is taken away before, not after."""
    arguments = ("call", server.url, "/train", "--background")
    status, text = on_terminal(*arguments, interrupt_at=b"half")
    assert status == 130
    assert "potassium jobs show" in text.rpartition("\x1b")[2]
    Path(tmp_path, "go").touch()


def test_help_of_a_command_imports_no_model_library() -> None:
    """Nor what only servers need; all commands together cost nothing before one is used."""
    code = (
        "import sys; from click.testing import CliRunner; from potassium.cli.main import cli; "
        "assert CliRunner().invoke(cli, {}).exit_code == 0; print(*sys.modules)"
    )

    def imported(*arguments: str) -> set[str]:
        script = code.format(list(arguments))
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return set(run.stdout.decode().split())

    assert not imported("--help") & {"httpx", "starlette.applications", "uvicorn", "pydantic"}
    for name in ("call", "bench", "jobs", "status"):
        modules = imported(name, "--help")
        assert not modules & {"torch", "numpy", "uvicorn", "pydantic", "PIL", "starlette.routing"}


def test_a_command_with_a_typo_names_the_one_that_was_meant() -> None:
    for typed, meant in (("serv", "serve"), ("nwe", "new"), ("dcotor", "doctor")):
        result = CliRunner().invoke(cli, [typed])
        assert result.exit_code == 2
        assert f"No such command '{typed}'. Did you mean '{meant}'?" in result.stderr
    assert "Did you mean" not in CliRunner().invoke(cli, ["zzzz"]).stderr


def test_a_level_of_the_log_that_does_not_exist_is_refused_before_the_app_is_imported() -> None:
    result = CliRunner().invoke(cli, ["serve", "nope.py", "--log-level", "loud"])
    assert result.exit_code == 2
    assert "'loud' is not one of 'debug', 'info'" in result.stderr
