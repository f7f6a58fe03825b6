"""What a server process leaves to others: its port, its children, memory that is replaced."""

import re
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
from e2e.server import Start, python, serve_source

CHILDREN = """
import multiprocessing
import time

from potassium import Potassium

app = Potassium("server")
fork = multiprocessing.get_context("fork")


@app.handler("/terminate")
def terminate(cache, json_in):
    child = fork.Process(target=time.sleep, args=(30,))
    child.start()
    time.sleep(0.2)
    child.terminate()
    child.join(5)
    alive = child.is_alive()
    child.kill()
    return alive


@app.handler("/leave")
def leave(cache, json_in):
    fork.Process(target=time.sleep, args=(30,), daemon=True).start()


app.serve()
"""

LEFT_BEHIND = """
import asyncio
import threading
import time

from potassium import Limits, Potassium

app = Potassium("server", limits=Limits(grace_period=0.5))


@app.handler("/swallow", concurrency=1)
async def swallow(cache, json_in):
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass


@app.handler("/thread")
def thread(cache, json_in):
    threading.Thread(target=time.sleep, args=(60,), name="left-behind").start()


app.serve()
"""

MODELS = """
import gc
import weakref

from potassium import Potassium

app = Potassium("server")
models = []


class Model:
    def __init__(self):
        self.hook = self.forward  # a cycle, as forward hooks and trainers make them
        models.append(weakref.ref(self))

    def forward(self): ...


@app.init
def init():
    return {"model": Model()}


@app.handler("/reload")
def reload(cache, json_in):
    app.set_cache({"model": Model()})


@app.handler("/alive")
def alive(cache, json_in):
    gc.collect()
    return [model() is not None for model in models]


app.serve()
"""

SLOW = """
import time

from potassium import Potassium

app = Potassium("server")


@app.init
def init():
    time.sleep(2)


app.handler(lambda cache, json_in: None)
app.serve()
"""


def test_a_process_that_a_handler_forks_can_be_terminated(start: Start) -> None:
    """It does not take SIGTERM for the server's."""
    assert start(CHILDREN).post("/terminate", {}).json() is False


def test_a_child_does_not_keep_a_drained_server_from_ending(start: Start) -> None:
    """A daemon that a handler has left behind is ended with the server."""
    server = start(CHILDREN)
    server.post("/leave", {})
    time.sleep(0.2)
    assert server.stop(signal.SIGTERM) == 0


def test_a_handler_that_swallows_its_cancellation_does_not_keep_the_server_from_ending(
    start: Start,
) -> None:
    """It is cut off with the grace period, which the exit status shows, and named on the log."""
    server = start(LEFT_BEHIND)
    with suppress(httpx.ReadTimeout), server.client(timeout=0.5) as client:
        client.post("/swallow", json={})
    assert server.stop(signal.SIGTERM) == 1
    assert re.search("left behind: .*swallow", server.log())


def test_a_thread_that_is_left_behind_does_not_keep_a_drained_server_from_ending(
    start: Start,
) -> None:
    """The server waits for it a few seconds, and names it on the log."""
    server = start(LEFT_BEHIND)
    server.post("/thread", {})
    assert server.stop(signal.SIGTERM) == 0
    assert "left behind: left-behind" in server.log()


def test_a_model_that_was_replaced_is_freed(start: Start) -> None:
    """Also the first one, and also if it is in a reference cycle."""
    server = start(MODELS)
    for _ in range(2):
        server.post("/reload", {})
    assert server.post("/alive", {}).json() == [False, False, True]


def test_of_two_servers_on_one_port_the_second_ends_with_a_message(
    free_port: int, tmp_path: Path
) -> None:
    """Also if the first one has not loaded its model yet, and so does not listen yet."""
    app_file = tmp_path / "app.py"
    app_file.write_text(SLOW)
    environment = {"POTASSIUM_PORT": str(free_port), "PYTHONUNBUFFERED": "1"}
    first = subprocess.Popen(python(app_file), cwd=tmp_path, env=environment)
    try:
        time.sleep(1)
        second = subprocess.run(
            python(app_file),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 1
        assert f"127.0.0.1:{free_port}: Address already in use" in second.stderr
    finally:
        first.kill()
        first.wait()


def test_a_restart_does_not_wait_for_the_connections_of_before(
    free_port: int, tmp_path: Path
) -> None:
    """Not even after a kill, which leaves them half closed for a minute."""
    with ExitStack() as clients:
        for _ in range(2):
            with serve_source(CHILDREN, tmp_path, port=free_port) as server:
                clients.enter_context(server.connect())
                server.process.kill()
                server.process.wait()
