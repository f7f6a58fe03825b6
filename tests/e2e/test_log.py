"""What a real server writes on its log: once, where silence would cost hours, and not too much."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.server import Server, Start, python, serve_source, wait_until

HOLDS = """
import asyncio
import re
import time

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from potassium import Potassium


class Slow:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/around":
            time.sleep(0.5)
        await self.app(scope, receive, send)


async def route(request):
    time.sleep(0.5)
    return JSONResponse({})


app = Potassium("server", middleware=[Middleware(Slow)], routes=[Route("/route", route)])


@app.handler("/sleeps")
async def sleeps(cache, json_in):
    time.sleep(1.5)  # the line in question
    return {}


@app.handler("/computes")
async def computes(cache, json_in):
    await asyncio.sleep(0)
    re.match("(a+)+b", "a" * 24)  # holds the GIL, too
    return {}


@app.handler("/waits", concurrency=100)
async def waits(cache, json_in):
    for _ in range(100):
        await asyncio.sleep(0.01)
    return {}


@app.handler("/thread")
def thread(cache, json_in):
    re.match("(a+)+b", "a" * 25)
    return {}


app.serve()
"""
LINE = HOLDS[: HOLDS.index("time.sleep(1.5)")].count("\n") + 1
HELD = re.compile(r"WARNING: +([/\w.]+) held the event loop for over 200 ms, at app.py:(\d+)")


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(HOLDS, tmp_path_factory.mktemp("holds")) as server:
        yield server


def held(server: Server) -> list[tuple[str, int]]:
    return [(name, int(line)) for name, line in HELD.findall(server.log())]


def test_a_handler_that_blocks_the_loop_is_named_once(holding: Server) -> None:
    """With the line that does it."""
    for _ in range(2):
        holding.post("/sleeps", {})
    assert [one for one in held(holding) if one[0] == "/sleeps"] == [("/sleeps", LINE)]


def test_a_route_and_a_middleware_that_block_the_loop_are_named_once(holding: Server) -> None:
    """They are no handlers, but hold up all of them."""
    for _ in range(2):
        for path in ("/route", "/around"):
            holding.get(path)
    assert [name for name, _ in held(holding) if "/" not in name] == ["route", "Slow.__call__"]


def test_a_handler_that_lets_no_thread_run_is_named(holding: Server) -> None:
    """The watch, a thread too, comes late then, and knows it."""
    for _ in range(2):
        holding.post("/computes", {})
    assert [name for name, _ in held(holding)].count("/computes") == 1


def test_a_handler_that_waits_while_the_gpu_thread_holds_the_gil_is_not_named(
    holding: Server,
) -> None:
    """The loop stands still, but through no fault of what happens to run on it."""
    waiting = [threading.Thread(target=holding.post, args=("/waits", {})) for _ in range(4)]
    for one in waiting:
        one.start()
    for _ in range(2):
        holding.post("/thread", {})
    for one in waiting:
        one.join()
    assert "/waits" not in {name for name, _ in held(holding)}


LIBRARY = "import time; time.sleep(0.3)"
LOADS = """
from potassium import Potassium
import torch  # a library of the test's own, which takes as long as the file says

app = Potassium("server")


@app.init
def init():
    import time
    import transformers
    time.sleep(0.2)
    return {}


@app.handler
def handler(cache, json_in):
    return {}


app.serve()
"""


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    for name in ("torch", "transformers"):
        (tmp_path / f"{name}.py").write_text(LIBRARY)
    return tmp_path


def test_one_line_tells_what_the_start_has_taken(libraries: Path, start: Start) -> None:
    """Seconds for the import of the app, for init, and for the libraries in each."""
    server = start(LOADS)
    pattern = (
        r"ready in ([\d.]+) s: import ([\d.]+) s \(torch ([\d.]+) s\), "
        r"init ([\d.]+) s \(transformers ([\d.]+) s\)"
    )
    (line,) = re.findall(pattern, server.log())
    ready, imported, torch, init, transformers = map(float, line)
    assert ready >= imported + init - 0.15
    assert imported >= torch >= 0.3
    assert init >= transformers + 0.1 >= 0.4
    figures = server.status()["startup"]
    assert figures["seconds"] == pytest.approx(ready, abs=0.06)
    assert figures["libraries"]["import"]["torch"] == pytest.approx(torch, abs=0.06)
    assert "loading..." not in server.log()


def test_a_terminal_shows_that_the_model_loads(tmp_path: Path, free_port: int) -> None:
    """The seconds are rewritten in place, and gone when the server is ready."""
    ours, theirs = pty.openpty()
    file = tmp_path / "app.py"
    file.write_text(LOADS.replace("time.sleep(0.2)", "time.sleep(2.2)"))
    for name in ("torch", "transformers"):
        (tmp_path / f"{name}.py").write_text("")
    process = subprocess.Popen(
        python(file),
        cwd=tmp_path,
        env={**os.environ, "POTASSIUM_PORT": str(free_port)},
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while b"serves on" not in written:
            written += os.read(ours, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"loading... 1 s\rloading... 2 s\r" in written
    _, _, after = written.partition(b"loading... 2 s\r")
    assert after.startswith(b" " * len("loading... 2 s") + b"\r")


WORKERS = ["--workers", "2", "--timeout-worker-healthcheck", "60"]


def test_workers_with_a_model_each_are_told(libraries: Path, start: Start) -> None:
    """``uvicorn --workers 2`` loads it twice; one of the two says so, and what that takes."""
    server = start(LOADS.replace("app.serve()", ""), target="app", arguments=WORKERS)
    wait_until(lambda: server.log().count("startup complete") == 2, "both workers", seconds=30)
    assert server.log().count("this is one of 2 processes") == 1
    if sys.platform == "linux":
        assert re.search(r"this one takes \d\.\d GiB of memory, so expect 2 times", server.log())
    server.stop()


FAILS = """
from potassium import Potassium

app = Potassium("server", api_keys=["secret"])


@app.handler
def handler(cache, json_in):
    raise ValueError("no")


app.serve()
"""


def test_a_flood_of_failures_leaves_a_bounded_log(start: Start) -> None:
    """The first ones are whole, the rest is counted."""
    server = start(FAILS)
    with server.client() as http:
        for _ in range(300):
            http.post("/", json={}, headers={"authorization": "Bearer secret"})
    server.stop()
    log = server.log()
    assert 50 <= log.count("Traceback") <= 55
    left_out = sum(map(int, re.findall(r"(\d+) more lines like this were left out: / failed", log)))
    assert log.count("Traceback") + left_out == 300


def test_a_flood_of_upgrades_leaves_a_bounded_log(start: Start) -> None:
    """They need no key, and uvicorn writes its lines for each."""
    server = start(FAILS.replace("app.serve()", 'app.serve(http="httptools")'))
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
    with server.client() as http:
        for _ in range(300):
            assert http.get("/", headers=upgrade).status_code == 401
    server.stop()
    log = server.log()
    assert 1 <= len(re.findall(r"WARNING: +Unsupported upgrade request", log)) <= 55
    assert re.search(r"\d+ more lines like this were left out: Unsupported upgrade", log)
    assert len(log) < 20_000


def test_a_log_handler_of_the_apps_own_gets_the_lines(tmp_path: Path, start: Start) -> None:
    """On the logger ``potassium`` or on root, with its own format."""
    server = start(
        FAILS.replace('api_keys=["secret"]', "").replace(
            "app.serve()",
            "import logging\n"
            "logging.basicConfig(filename='own.log', filemode='w', format='own|%(message)s')\n"
            "app.serve(log_level='warn')",
        )
    )
    server.post("/", {})
    own = (tmp_path / "own.log").read_text()
    assert "own|/ failed: handler_error" in own
    assert "serves on" not in own
    assert server.log() == ""
