"""The log of a real process: every line in its format, whatever happens."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.server import Server, Start, free_port, python, wait_until
from e2e.wire import answer, post

DOCS = Path(__file__).parents[2] / "docs" / "access-logs.md"
EXAMPLE = re.compile(r"^jq .*$", re.MULTILINE)
JSON = {"POTASSIUM_LOG": "json"}

SOURCE = """
import logging
import os
import threading
import time
import warnings

from potassium import Batch, Jobs, Limits, Potassium

limits = Limits(hang_timeout=0.5, grace_period=0.2)
app = Potassium("server", jobs=Jobs(path=None), limits=limits)
logger = logging.getLogger("model")


@app.init
def init():
    warnings.warn("old weights")
    if "BROKEN" in os.environ:
        raise RuntimeError("no such model\\nat all")
    return {}


@app.handler
def handler(cache, json_in):
    logger.info("got %s", json_in.get("text"), extra={"size": len(json_in)})
    if json_in.get("fail"):
        raise ValueError("no\\nluck")
    if json_in.get("thread"):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    if json_in.get("hang"):
        time.sleep(60)
    return json_in


@app.handler("/stream")
def stream(cache, json_in):
    yield "a"
    yield "b"


@app.handler("/batch", batch=Batch(max_size=4, max_delay=0.01))
def batch(cache, items: list[dict]):
    return items


@app.background("/train", prepare=lambda value: value, finish=lambda value: value)
def train(cache, json_in):
    logger.info("training")
    if json_in.get("fail"):
        raise ValueError("no")
    return 1


@app.handler("/steps", prepare=lambda value: value, finish=lambda value: value)
def steps(cache, json_in):
    return 1


if __name__ == "__main__":
    app.serve()
"""


def lines(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log, every one of which must be a JSON object."""
    return [json.loads(line) for line in log.splitlines()]


def of_calls(server: Server) -> list[dict[str, Any]]:
    return [one for one in lines(server.log()) if one["logger"] == "potassium.access"]


def call_all(server: Server) -> None:
    """Make calls of all kinds, and wait for their lines."""
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    server.post("/", {"text": "a\n\x1b[31mb"}, headers={"X-Request-Id": "r-1", **traced})
    server.post("/", {"fail": 1})
    server.post("/", {"thread": 1})
    server.post("/stream", {})
    server.post("/batch", {})
    server.post("/steps", {})
    server.post("/train", {})
    server.post("/train", {"fail": 1})
    server.post("/no%0Awhere%1b%5b31m?token=secret", {})
    server.get("/healthz")
    wait_until(lambda: len(of_calls(server)) == 11, "11 lines of calls")


def test_every_line_of_a_process_is_json(start: Start) -> None:
    """Ours, uvicorn's, the app's own, warnings and tracebacks: from the start to the end."""
    server = start(SOURCE, env=JSON)
    call_all(server)
    assert server.stop() == 0
    told = lines(server.log())
    assert all(list(one)[:4] == ["time", "level", "logger", "message"] for one in told)
    loggers = {one["logger"] for one in told}
    assert {"potassium", "potassium.access", "uvicorn.error", "model", "py.warnings"} <= loggers
    assert "Finished server process" in told[-1]["message"]
    failed = [one for one in told if "exception" in one]
    assert [one["exception"].splitlines()[-1] for one in failed] == [
        "luck",
        "ZeroDivisionError: division by zero",
        "ValueError: no",
    ]
    assert "secret" not in server.log()
    assert "\x1b" not in server.log()


def test_lines_are_found_by_the_id_of_their_call(start: Start) -> None:
    """A handler's own lines too; a job's also by the id of the job."""
    server = start(SOURCE, env=JSON)
    call_all(server)
    job = server.post("/train", {}, headers={"X-Request-Id": "r-2"}).json()
    wait_until(lambda: len(of_calls(server)) == 13, "13 lines of calls")
    told = lines(server.log())
    mine = [one for one in told if one.get("request_id") == "r-1"]
    assert [one["logger"] for one in mine] == ["model", "potassium.access"]
    assert (mine[0]["message"], mine[0]["size"]) == ("got a\n\x1b[31mb", 1)
    its = [one for one in told if one.get("job_id") == job["id"]]
    assert [one["logger"] for one in its if "training" in one["message"]] == ["model"]
    assert len(its) == 3
    assert {one["request_id"] for one in its} == {"r-2"}


def test_every_documented_field_is_in_the_log(start: Start) -> None:
    """Those of the table, but for ``stack``, which only apps can cause, and ``worker``."""
    server = start(SOURCE, env=JSON)
    call_all(server)
    table = DOCS.read_text("utf-8").partition("## Fields")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) - {"stack", "worker"}
    seen = {name for one in lines(server.log()) for name in one}
    assert documented - seen == set()


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_examples_for_jq_work(start: Start) -> None:
    """Each finds something in the log of calls of all kinds."""
    server = start(SOURCE, env=JSON)
    call_all(server)
    job = next(one["job_id"] for one in of_calls(server) if "job_id" in one)
    examples = EXAMPLE.findall(DOCS.read_text("utf-8"))
    assert len(examples) > 6
    for example in examples:
        command = re.sub(
            r'(?<=_id == ")[\w-]+', lambda found: job if len(found[0]) == 32 else "r-1", example
        )
        command = re.sub(r"\blog\b(?=( \||$))", str(server.log_file), command)
        ended = subprocess.run(
            ["/bin/bash", "-c", command], capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, ""), command
        assert ended.stdout.strip(), command


def test_text_is_for_people(start: Start) -> None:
    """One line for each call, tracebacks indented, nothing that a terminal obeys."""
    server = start(SOURCE, env={"POTASSIUM_LOG": "text"})
    server.post("/", {"text": "a\n\x1b[31mb"}, headers={"X-Request-Id": "r-1"})
    server.post("/", {"fail": 1})
    wait_until(lambda: " 500 handler_error in " in server.log(), "a line")
    log = server.log()
    assert re.search(r"INFO:     model: got a\\n\\x1b\[31mb request_id=r-1$", log, re.MULTILINE)
    assert re.search(
        r"^[\d-]+ [\d:,]+ INFO:     POST / 200 in [\d.]+ ms \(queue [\d.]+, run [\d.]+\) "
        r"from 127.0.0.1:\d+ request_id=r-1$",
        log,
        re.MULTILINE,
    )
    assert "\n    ValueError: no\n    luck\n" in log
    assert "\x1b" not in log


def test_colours_can_be_forced(start: Start) -> None:
    """As collectors that show colours ask for them."""
    server = start(SOURCE, env={"POTASSIUM_LOG": "text", "FORCE_COLOR": "1"})
    assert "\x1b[32mINFO\x1b[0m:" in server.log()


def test_without_a_format_calls_have_no_lines(start: Start) -> None:
    """As before: plain lines, and nothing of calls."""
    server = start(SOURCE)
    server.post("/", {})
    server.stop()
    assert "POST" not in server.log()
    assert "INFO:     server serves on" in server.log()


def test_a_client_behind_a_proxy_is_the_proxys_client(start: Start) -> None:
    """As uvicorn's ``proxy_headers`` has it, from proxies that are trusted."""
    server = start(SOURCE, env=JSON)
    server.post("/", {}, headers={"X-Forwarded-For": "2001:db8::7"})
    wait_until(lambda: of_calls(server), "a line")
    assert of_calls(server)[0]["client"] == "2001:db8::7"


def test_a_unix_socket_has_no_client(tmp_path: Path, start: Start) -> None:
    """There is no address to tell."""
    path = str(tmp_path / "s")
    source = SOURCE.replace("app.serve()", f"app.serve(uds={path!r}, log='json')")
    app_file = tmp_path / "app.py"
    app_file.write_text(source)
    log_file = tmp_path / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(python(app_file), stdout=log, stderr=log, cwd=tmp_path)
    server = Server(process, 0, log_file)
    try:
        wait_until(lambda: "server serves on" in server.log(), "the start", seconds=30)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(post("/", {}))
            assert answer(connection).status == 200
        wait_until(lambda: of_calls(server), "a line")
        assert "client" not in of_calls(server)[0]
    finally:
        process.kill()
        process.wait()


def run(folder: Path, source: str = SOURCE, **env: str) -> tuple[int, str, str]:
    """Run ``source`` until it ends; return its exit status, its stdout and its stderr."""
    app_file = folder / "app.py"
    app_file.write_text(textwrap.dedent(source))
    ended = subprocess.run(
        python(app_file),
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_an_init_that_raises_is_json_too(tmp_path: Path) -> None:
    """Its traceback is one field, once, and nothing else is on stderr or stdout."""
    status, out, log = run(tmp_path, POTASSIUM_PORT=str(free_port()), BROKEN="1", **JSON)
    assert status != 0
    assert out == ""
    (failed,) = [one for one in lines(log) if "exception" in one]
    assert failed["level"] == "ERROR"
    assert failed["exception"].startswith("Traceback (most recent call last):\n")
    assert failed["exception"].endswith("RuntimeError: no such model\nat all")


def test_an_address_that_is_taken_is_json_too(tmp_path: Path) -> None:
    """One critical line says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, out, log = run(tmp_path, POTASSIUM_PORT=str(taken.getsockname()[1]), **JSON)
    assert (status, out) == (1, "")
    (line,) = lines(log)
    assert line["level"] == "CRITICAL"
    assert "POTASSIUM_PORT" in line["message"]


def test_a_server_that_fails_has_all_of_its_log(start: Start) -> None:
    """The lines that say why are written before the process ends without further ado."""
    server = start(SOURCE, env=JSON)
    with server.client() as http:
        response = http.post("/", json={"hang": 1})
    assert response.status_code == 503
    assert server.process.wait(10) == 1
    told = lines(server.log())
    assert any("must be restarted" in one["message"] for one in told if one["level"] == "CRITICAL")
    assert of_calls(server)[-1]["status"] == 503


def test_a_process_that_ends_at_once_has_all_of_its_log(tmp_path: Path) -> None:
    """As one whose accelerator is broken does: lines that were about to be written are written."""
    ending = """
        import logging
        from potassium.serving.leftovers import exit_now
        from potassium.serving.log_config import set_up_logging

        set_up_logging(None, how="json")
        logging.getLogger("app").info("last")
        exit_now(3)
    """
    status, _, log = run(tmp_path, ending)
    assert (status, [one["message"] for one in lines(log)]) == (3, ["last"])


def test_a_second_signal_leaves_a_last_line(start: Start) -> None:
    """In the log's format, after all that was logged before."""
    server = start(
        SOURCE.replace("hang_timeout=0.5, grace_period=0.2", "grace_period=60"), env=JSON
    )
    with server.connect() as connection:
        connection.sendall(post("/", {"hang": 1}))
        wait_until(lambda: "got None" in server.log(), "the call to run")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx_status(server, "/readyz") == 503, "the drain")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 128 + signal.SIGTERM
    assert lines(server.log())[-1]["message"] == "potassium: terminated immediately"


def httpx_status(server: Server, path: str) -> int:
    try:
        return server.get(path).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.skipif(sys.platform != "linux", reason="pipes hold 64 KiB there")
def test_nobody_who_reads_the_log_holds_calls_up(tmp_path: Path) -> None:
    """Calls are answered although the log's pipe is full, and the server can end."""
    app_file = tmp_path / "app.py"
    app_file.write_text(SOURCE)
    port = free_port()
    process = subprocess.Popen(
        python(app_file),
        env={**os.environ, "POTASSIUM_PORT": str(port), **JSON},
        stderr=subprocess.PIPE,
    )
    server = Server(process, port, tmp_path / "none")
    try:
        wait_until(lambda: httpx_status(server, "/readyz") == 200, "the start", seconds=30)
        with server.client() as http:
            for _ in range(400):  # of which each logs more than 600 bytes
                assert http.post("/", json={"text": "x" * 300}).status_code == 200
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 15
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_another_servers_log_is_its_own(start: Start, tmp_path: Path) -> None:
    """Under ``uvicorn app:app``, calls are logged; how that looks is said in its log config."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"own": {"format": "own|%(name)s|%(message)s|%(levelname)s"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "own"},
            "calls": {"class": "logging.FileHandler", "filename": "calls.log", "formatter": "own"},
        },
        "loggers": {"potassium.access": {"handlers": ["calls"], "propagate": False}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
    }
    (tmp_path / "log.json").write_text(json.dumps(config))
    arguments = ["--log-config", "log.json", "--no-access-log"]
    server = start(SOURCE, target="app", arguments=arguments, env=JSON)
    server.post("/", {})
    wait_until(lambda: "POST / 200" in (tmp_path / "calls.log").read_text(), "the line")
    assert "POST" not in server.log()
    assert "own|model|got None|INFO" in server.log()
