"""A worker that dies or fails in ``init``, at the first start and later."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from e2e.server import free_port, uvicorn, wait_until
from e2e.workers.processes import (
    HEAD,
    PATIENCE,
    SERVE,
    START_TIME,
    TIMEOUT,
    all_workers,
    crew,
    inits,
    kill,
    workers,
)

pytestmark = TIMEOUT
LEAST = [0.8, 1.6, 3.2]  # seconds of the pauses after the first attempt: a fifth less than usual
SOURCE = (
    HEAD
    + """
app = Potassium(
    "server",
    workers=Workers(["cpu", "cpu"], load_timeout=float(os.environ.get("LOAD_TIMEOUT", "60"))),
)


@app.init
def init():
    note(f"init {os.getpid()} {time.monotonic()}")
    fault = pathlib.Path("fault")  # its first word is what happens, the rest how often
    what, _, times = fault.read_text().partition(" ") if fault.exists() else ("", "", "0")
    if int(times):
        fault.write_text(f"{what} {int(times) - 1}")
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang":
            time.sleep(600)
        raise RuntimeError("no such model")


@app.handler("/run")
def run(cache, json_in):
    return begins(json_in)
"""
)


@dataclass
class Ended:
    """How a server ended that could not start."""

    status: int
    log: str
    left: list[int]  # its workers that are still there
    most: int  # of its workers that there were at one time


def start_in_vain(folder: Path, source: str, fault: str = "", **env: str) -> Ended:
    """Run an app until it ends by itself."""
    (folder / "app.py").write_text(source)
    (folder / "fault").write_text(fault or "none 0")
    port = free_port()
    most = 0
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "app.py"],
            env={**os.environ, "POTASSIUM_PORT": str(port), **env},
            cwd=folder,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_TIME
            while process.poll() is None and time.monotonic() < deadline:
                most = max(most, len(all_workers(port)))
                time.sleep(0.02)
        finally:
            process.kill()
    left = all_workers(port)
    for pid in left:
        kill(pid)
    return Ended(process.returncode, (folder / "log").read_text(), left, most)


def test_a_server_whose_workers_die_in_init_does_not_start(tmp_path: Path) -> None:
    """It ends with a failure, leaves no process behind, and says what happened."""
    ended = start_in_vain(tmp_path, SOURCE + SERVE, "kill 1000")
    assert (ended.status > 0, ended.left) == (True, [])
    assert "SIGKILL" in ended.log
    assert "init" in ended.log


def test_a_server_whose_init_raises_in_its_workers_does_not_start(tmp_path: Path) -> None:
    """It ends with a failure, leaves no process behind, and shows where it was raised."""
    ended = start_in_vain(tmp_path, SOURCE + SERVE, "raise 1000")
    assert (ended.status > 0, ended.left) == (True, [])
    assert "RuntimeError: no such model" in ended.log
    assert re.search(r'app\.py", line \d+, in init', ended.log)


def test_a_server_whose_init_hangs_does_not_start(tmp_path: Path) -> None:
    """Past ``load_timeout`` it ends with a failure, and says that init took too long."""
    ended = start_in_vain(tmp_path, SOURCE + SERVE, "hang 1000", LOAD_TIMEOUT="2")
    assert (ended.status > 0, ended.left) == (True, [])
    assert "longer than 2 s" in ended.log


def test_a_server_whose_workers_cannot_import_the_app_does_not_start(tmp_path: Path) -> None:
    """Although the server can; the log shows what was raised, and where."""
    fails = '\nif __name__ != "__main__":\n    raise ImportError("no such library")\n'
    ended = start_in_vain(tmp_path, SOURCE + fails + SERVE)
    assert (ended.status > 0, ended.left) == (True, [])
    assert "ImportError: no such library" in ended.log
    assert re.search(r'app\.py", line \d+, in <module>', ended.log)


def test_a_server_of_which_one_worker_dies_in_init_does_not_start(tmp_path: Path) -> None:
    """At the start, half of the workers is a fault to be mended rather than a state to serve in."""
    ended = start_in_vain(tmp_path, SOURCE + SERVE, "kill 1")
    assert (ended.status > 0, ended.left) == (True, [])


def test_an_app_that_serves_whenever_it_is_imported_does_not_start(tmp_path: Path) -> None:
    """Without the guard there are as many processes as with it, and the log names the guard."""
    ended = start_in_vain(tmp_path, SOURCE + "\n\napp.serve()\n")
    assert (ended.status > 0, ended.left) == (True, [])
    assert ended.most <= 2
    assert 'if __name__ == "__main__":' in ended.log


def test_an_app_without_a_guard_serves_under_uvicorn_no_more_than_once(tmp_path: Path) -> None:
    """The server ends with the same message: there, too, the app is imported."""
    (tmp_path / "app.py").write_text(SOURCE + "\n\napp.serve()\n")
    command = uvicorn("app:app", free_port())
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=START_TIME, check=False
    )
    assert ended.returncode > 0
    assert 'if __name__ == "__main__":' in ended.stderr


def moments(folder: Path) -> list[float]:
    """Return when each ``init`` has begun, on the monotonic clock."""
    lines = (folder / "events").read_text().splitlines()
    return [float(line.split()[2]) for line in lines if line.startswith("init")]


@pytest.mark.parametrize("fault", ["kill 3", "raise 2"])
def test_a_new_worker_that_fails_in_init_is_tried_again_after_a_pause(
    tmp_path: Path, fault: str
) -> None:
    """At once, then after longer and longer pauses, while the other worker serves."""
    with crew(tmp_path, SOURCE + SERVE) as caller:
        old = workers(caller.server)
        (tmp_path / "fault").write_text(fault)
        attempts = 2 + int(fault[-1]) + 1
        died = time.monotonic()
        kill(old[0])
        ready = []
        while len(inits(caller.server)) < attempts:
            ready.append(caller.server.get("/readyz").status_code)
            between = caller.send("/run", "between").result().pid
            assert between == old[1] or len(inits(caller.server)) == attempts
            assert time.monotonic() < died + PATIENCE, caller.server.log()
        caller.served_by_two(old)
        pauses = [after - before for before, after in pairwise(moments(tmp_path)[2:])]
        assert set(ready) == {200}
        assert [after >= least for after, least in zip(pauses, LEAST, strict=False)] == [
            True
        ] * len(pauses)


def test_a_new_worker_whose_init_hangs_is_killed_and_tried_again(tmp_path: Path) -> None:
    """Past ``load_timeout``, while the other worker serves."""
    with crew(tmp_path, SOURCE + SERVE, env={"LOAD_TIMEOUT": "15"}) as caller:
        old = workers(caller.server)
        (tmp_path / "fault").write_text("hang 1")
        kill(old[0])
        assert caller.send("/run", "between").result().pid == old[1]
        wait_until(lambda: len(inits(caller.server)) == 4, "a second attempt", seconds=PATIENCE)
        caller.served_by_two(old)
        assert "longer than 15 s" in caller.server.log()


def test_a_server_under_uvicorn_replaces_its_workers_too(tmp_path: Path) -> None:
    """Not only ``python app.py`` does."""
    with crew(tmp_path, SOURCE + SERVE, target="app") as caller:
        old = workers(caller.server)
        kill(old[0])
        caller.served_by_two(old)
