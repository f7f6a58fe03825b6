"""A server as a service of systemd, ``Type=notify``."""

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from e2e.server import Start, wait_until

SOURCE = """
import time
from pathlib import Path

from potassium import Potassium

app = Potassium("server")

@app.init
def init():
    Path("loaded").touch()
    return {}

@app.handler
def handler(cache, json_in):
    Path("begun").touch()
    while not Path("gate").exists():
        time.sleep(0.01)
    return {}

app.serve()
"""


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield a socket that hears what a service says."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def test_systemd_hears_when_the_server_is_ready_and_when_it_stops(
    start: Start, tmp_path: Path, heard: socket.socket, pool: ThreadPoolExecutor, gate: Path
) -> None:
    """Ready once it serves; stopping as soon as it drains, while calls still run."""
    server = start(SOURCE, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert heard.recv(4096).decode() == f"READY=1\nSTATUS=server serves on {server.url}"
    call = pool.submit(server.post, "/", {})
    wait_until((tmp_path / "begun").exists, "the call runs")
    server.process.send_signal(signal.SIGTERM)
    assert heard.recv(4096).startswith(b"STOPPING=1\n")
    assert not call.done()
    gate.touch()
    assert call.result().status_code == 200
    assert server.process.wait(10) == 0


def test_the_watchdog_hears_of_a_server_all_the_time(
    start: Start, tmp_path: Path, heard: socket.socket, pool: ThreadPoolExecutor, gate: Path
) -> None:
    """Also while a handler holds the GPU thread, and while the server drains."""
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    server = start(SOURCE, env=environ)
    assert heard.recv(4096).startswith(b"READY=1\n")
    call = pool.submit(server.post, "/", {})
    wait_until((tmp_path / "begun").exists, "the call runs")
    assert [heard.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    server.process.send_signal(signal.SIGTERM)
    while heard.recv(4096) == b"WATCHDOG=1":
        pass
    assert [heard.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    gate.touch()
    assert call.result().status_code == 200
