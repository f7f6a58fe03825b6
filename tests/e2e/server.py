"""A real server process on a free loopback port, for tests over real sockets."""

import itertools
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_TIME = 60.0  # seconds that a server may take to become ready
TESTS = Path(__file__).parents[1]
STOP_TIME = 10.0  # seconds that it may take to end after SIGINT
PORTS = range(10_000, 32_768)  # from here on, the system gives a port to whoever asks for any

_NUMBERS = itertools.count(random.SystemRandom().randrange(len(PORTS)))  # elsewhere in each process
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a client's own takes 20 ms of a processor


@dataclass
class Server:
    """A running server process."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """Return everything that the process has written to stdout and stderr."""
        return self.log_file.read_text()

    def client(self, *, timeout: float = 20.0) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, verify=_NO_TLS)

    def post(
        self,
        path: str = "/",
        json: Any = None,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send one POST on its own connection: ``json``, or ``content`` declared as JSON."""
        declared = {"Content-Type": "application/json", **(headers or {})}
        with self.client() as http:
            if content is None:
                return http.post(path, json=json, headers=headers)
            return http.post(path, content=content, headers=declared)

    def get(self, path: str) -> httpx.Response:
        with self.client() as http:
            return http.get(path)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = self.get("/_k/status").json()
        return document

    def connect(self, *, timeout: float = 5.0) -> socket.socket:
        """Return a plain TCP connection, for what an HTTP client would not send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def peak_memory(self) -> int:
        """Return the peak resident memory of the process, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def stop(self, sig: signal.Signals = signal.SIGINT) -> int:
        """Send ``sig`` and return the exit status."""
        self.process.send_signal(sig)
        return self.process.wait(STOP_TIME)


Start = Callable[..., Server]


@contextmanager
def serve(  # noqa: PLR0913 - each one option of a process
    command: Sequence[str],
    log_file: Path,
    *,
    port: int,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    ready: str = "/readyz",  # the path to wait for
    start_time: float = START_TIME,
) -> Iterator[Server]:
    """Run ``command`` until the context exits; yield once ``ready`` answers 200."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "POTASSIUM_PORT": str(port), **(env or {})},
        )
    server = Server(process, port, log_file)
    try:
        _wait_until_ready(server, ready, start_time)
        yield server
    finally:
        process.kill()
        process.wait()


@contextmanager
def serve_source(
    source: str,
    folder: Path,
    *,
    target: str | None = None,
    arguments: Sequence[str] = (),
    has_support: bool = False,
    **options: Any,
) -> Iterator[Server]:
    """Run ``source`` as ``python app.py``, or as ``uvicorn app:TARGET ARGUMENTS``.

    ``has_support`` is whether it imports from the folder ``support`` of the tests.
    """
    app_file = folder / "app.py"
    app_file.write_text(_importable(textwrap.dedent(source)))
    options = {"cwd": folder, "port": free_port(), **options}
    if has_support:
        path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
        options["env"] = {"PYTHONPATH": path, **options.get("env", {})}
    command = python(app_file)
    if target is not None:
        command = uvicorn(f"app:{target}", options["port"], *arguments)
    with serve(command, folder / "server.log", **options) as server:
        yield server


def _importable(source: str) -> str:
    """Return ``source`` so that workers can import it: run with POTASSIUM_WORKERS=2, all tests do.

    By default, it is run as it is.
    """
    if not os.environ.get("POTASSIUM_WORKERS"):
        return source
    guarded = 'if __name__ == "__main__":\n    app.serve('
    return re.sub(r"^app\.serve\(", guarded, source, flags=re.MULTILINE)


def python(app_file: Path) -> list[str]:
    return [sys.executable, str(app_file)]


def uvicorn(app: str, port: int, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "uvicorn", app, "--port", str(port), *arguments]


def free_port() -> int:
    """Return a port that is free, and that nothing else will take before a server does."""
    for number in _NUMBERS:
        port = PORTS[number % len(PORTS)]
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable")


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 20.0) -> None:
    """Return once ``condition()`` is true; fail if it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def error(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of an error answer."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


def _wait_until_ready(server: Server, path: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with server.client() as http:
        while time.monotonic() < deadline:
            assert server.process.poll() is None, f"the server ended:\n{server.log()}"
            try:
                if http.get(path).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise AssertionError(f"the server was not ready after {seconds} s:\n{server.log()}")
