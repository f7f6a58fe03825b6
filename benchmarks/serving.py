"""Servers of the benchmarks, each in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

SERVERS = Path(__file__).with_name("servers")


class Server:
    """One of the scripts in ``servers/``, running on a port of its own."""

    def __init__(self, name: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.name = name
        command = [sys.executable, str(SERVERS / f"{name}.py"), str(self.port)]
        self.process = subprocess.Popen(command)
        self.seen = psutil.Process(self.process.pid)

    def wait_until_it_listens(self) -> None:
        """Return once a connection is taken, which is after the model has loaded.

        Raises:
            SystemExit: it ended, or none was taken within 20 s.

        """
        for _ in range(400):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit(f"{self.name} does not listen")

    def stop(self) -> None:
        """End the process: first politely."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

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
