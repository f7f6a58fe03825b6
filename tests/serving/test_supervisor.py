"""What systemd is told, and when."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from potassium.serving.supervisor import Supervisor


class Socket:
    """The socket on which systemd listens."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return what has arrived since the last call."""
        texts = []
        while True:
            try:
                texts.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return texts

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Socket]:
    """Yield a socket in the file system, and one whose name begins with ``@``."""
    name = f"@{uuid4().hex}" if request.param == "abstract" else str(tmp_path / "notify")
    listening = Socket(name)
    yield listening
    listening.close()


def test_ready_comes_with_what_systemctl_status_shows(systemd: Socket) -> None:
    Supervisor({"NOTIFY_SOCKET": systemd.name}).ready("server serves on http://127.0.0.1:8000")
    assert systemd.heard() == ["READY=1\nSTATUS=server serves on http://127.0.0.1:8000"]


def test_stopping_is_said_once(systemd: Socket) -> None:
    """However often the server looks whether it may close."""
    supervisor = Supervisor({"NOTIFY_SOCKET": systemd.name})
    supervisor.stopping()
    supervisor.stopping()
    (heard,) = systemd.heard()
    assert heard.startswith("STOPPING=1\n")


def test_the_watchdog_hears_of_the_server_twice_in_its_time(systemd: Socket) -> None:
    """And not with each turn of the server."""
    times = iter([100.0, 100.1, 114.9, 115.0, 115.1, 129.9, 130.0])
    environ = {"NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "30000000"}
    supervisor = Supervisor(environ, clock=lambda: next(times))
    for _ in range(7):
        supervisor.beat()
    assert systemd.heard() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "30", "WATCHDOG_PID": "1"}]
)
def test_a_watchdog_that_does_not_wait_for_this_process_hears_nothing(
    systemd: Socket, environ: dict[str, str]
) -> None:
    """One that is off, and one that watches another process."""
    Supervisor({"NOTIFY_SOCKET": systemd.name, **environ}).beat()
    assert systemd.heard() == []


def test_a_watchdog_names_its_process(systemd: Socket) -> None:
    environ = {"WATCHDOG_USEC": "30", "WATCHDOG_PID": str(os.getpid())}
    Supervisor({"NOTIFY_SOCKET": systemd.name, **environ}).beat()
    assert systemd.heard() == ["WATCHDOG=1"]


def test_without_systemd_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything logged."""
    monkeypatch.delattr(socket, "socket")
    supervisor = Supervisor({})
    supervisor.ready("ready")
    supervisor.beat()
    supervisor.stopping()


def test_a_socket_that_is_gone_is_named(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """systemd would end the process for its silence, and nobody would know why."""
    with caplog.at_level(logging.WARNING, "potassium"):
        Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("ready")
    (line,) = caplog.messages
    assert "systemd could not be told" in line
