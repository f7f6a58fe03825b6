"""What a server process leaves to others: its port, its children, memory that is replaced."""

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

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
