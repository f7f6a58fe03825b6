"""The servers of the benchmarks, each in its own process."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

SERVERS = Path(__file__).with_name("servers")
PATIENCE = 60  # seconds for a server to listen, and to end


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One of the scripts in ``servers/``, running on its own port.

    Args:
        name: the script's name, without the suffix.
        arguments: the script's arguments after the port.
        python: the interpreter; a peer needs its own.
        env: variables in addition to those of this process. With any, its output is thrown away:
            it may be a line for each request.

    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        python: str = sys.executable,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.name = name
        command = [python, str(SERVERS / f"{name}.py"), str(self.port), *arguments]
        # Scripts find the modules in the parent folder, as they do when they are imported.
        path = os.pathsep.join([str(SERVERS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path, **(env or {})},
            stdout=subprocess.DEVNULL if env else None,
            stderr=subprocess.DEVNULL if env else None,
        )
        self.seen = psutil.Process(self.process.pid)

    def wait_until_it_listens(self) -> None:
        """Return once a connection is accepted, which is after the model has loaded.

        Raises:
            SystemExit: the server ended, or accepted no connection in time.

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
            SystemExit: the server ended, or did not answer 200 in time.

        """
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            with suppress(OSError):  # refused, or 503
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
                return
            time.sleep(0.005)
        raise SystemExit(f"{self.name} does not get ready")

    def wait_until_it_answers(self, path: str, body: bytes, *, patience: float = PATIENCE) -> None:
        """Return once a handler answers 200 to a body of JSON.

        Raises:
            SystemExit: it did not in time.

        """
        end = time.monotonic() + patience
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        while self.process.poll() is None and time.monotonic() < end:
            try:
                urllib.request.urlopen(asked, timeout=5).close()
            except OSError:  # refused, too late, or another status
                time.sleep(0.1)
            else:
                return
        raise SystemExit(f"{self.name} does not answer at {path}")

    def kill(self) -> None:
        """Kill the process and its children, whatever they are doing."""
        family = [*self.seen.children(recursive=True), self.seen]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family)

    def stop(self) -> None:
        """Terminate the process, or kill it if it does not end. Kill children left behind."""
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
        """Return the resident memory of the process, in bytes."""
        memory: int = self.seen.memory_info().rss
        return memory


@contextmanager
def running(*names: str | tuple[str, str]) -> Iterator[list[Server]]:
    """Run the servers until the context exits; a pair is a name and an interpreter."""
    with ExitStack() as stack:
        servers = []
        for name in names:
            server = Server(name) if isinstance(name, str) else Server(name[0], python=name[1])
            stack.callback(server.stop)
            servers.append(server)
        for server in servers:
            server.wait_until_it_listens()
        yield servers
