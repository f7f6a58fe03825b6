"""Servers of the benchmarks, each in a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

SERVERS = Path(__file__).with_name("servers")
PATIENCE = 60  # seconds until a server listens, or has ended


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One of the scripts in ``servers/``, running on a port of its own.

    Args:
        name: of the script.
        arguments: for the script, after the port.
        python: the interpreter, where it is a peer's.

    """

    def __init__(self, name: str, *arguments: str, python: str = sys.executable) -> None:
        self.port = free_port()
        self.name = name
        command = [python, str(SERVERS / f"{name}.py"), str(self.port), *arguments]
        # Scripts find the modules beside their folder, as they do where they are imported.
        path = os.pathsep.join([str(SERVERS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
        self.seen = psutil.Process(self.process.pid)

    def wait_until_it_listens(self) -> None:
        """Return once a connection is taken, which is after the model has loaded.

        Raises:
            SystemExit: it ended, or none was taken in time.

        """
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit(f"{self.name} does not listen")

    def wait_until_it_is_ready(self) -> None:
        """Return once ``/readyz`` answers 200.

        Raises:
            SystemExit: it ended, or did not answer so in time.

        """
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            with suppress(OSError):  # refused, or 503
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
                return
            time.sleep(0.005)
        raise SystemExit(f"{self.name} does not get ready")

    def stop(self) -> None:
        """End the process: first politely. Some peers leave their children behind."""
        children = self.seen.children(recursive=True) if self.process.poll() is None else []
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children)

    def resident(self) -> int:
        """Return the bytes of memory that the process has resident."""
        memory: int = self.seen.memory_info().rss
        return memory


@contextmanager
def running(*names: str) -> Iterator[list[Server]]:
    """Run the servers until the end of the context."""
    with ExitStack() as stack:
        servers = []
        for name in names:
            server = Server(name)
            stack.callback(server.stop)
            servers.append(server)
        for server in servers:
            server.wait_until_it_listens()
        yield servers
