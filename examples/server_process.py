"""Run an example as a separate process until the context exits."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

START_TIME = 120.0  # seconds that the server may take to load its model
STOP_TIME = 10.0  # seconds that it may take to end


@contextmanager
def serving(app_file: Path) -> Iterator[str]:
    """Yield the server's URL once it is ready; print its log if anything fails."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host, port = probe.getsockname()
    env = {**os.environ, "POTASSIUM_HOST": host, "POTASSIUM_PORT": str(port)}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        server = subprocess.Popen([sys.executable, str(app_file)], env=env, stdout=log, stderr=log)  # noqa: S603
        try:
            wait_until_ready(server, f"http://{host}:{port}")
            yield f"http://{host}:{port}"
            stop(server)
        except Exception:
            log.seek(0)
            print(f"\n{log.read()}", file=sys.stderr)
            raise
        finally:
            server.kill()  # does nothing if it has ended
            server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    print(f"The server on {url} loads its model ", end="", flush=True)
    deadline = time.monotonic() + START_TIME
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(httpx.TransportError):  # it does not listen yet
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == httpx.codes.OK:
                print(" ready\n")
                return
        print(".", end="", flush=True)
        time.sleep(0.5)
    status = server.poll()
    why = "was not ready in time" if status is None else f"ended with status {status}"
    raise RuntimeError(f"the server {why}")


def stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    if server.wait(STOP_TIME) != 0:
        raise RuntimeError(f"the server ended with status {server.returncode}")
