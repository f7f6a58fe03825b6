"""For tests of stores: stand-ins at the socket, servers of their own processes, and time."""

import os
import re
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from potassium.store import Store

MakeStore = Callable[..., Store]
Server = TypeVar("Server", bound=socketserver.BaseServer)


class ManualClock:
    """Wall-clock time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class FakeRedis(socketserver.ThreadingTCPServer):
    """Speaks as much of RESP2 as the client needs; keeps values, and when they expire.

    Attributes:
        values: by key: the bytes, and milliseconds to live.
        refuses: what every GET, SET and DEL is answered with, if anything.
        drops: how many of them are answered by closing the connection.

    """

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        self.values: dict[bytes, tuple[bytes, int | None]] = {}
        self.refuses: bytes | None = None
        self.drops = 0
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), _RedisConnection)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def drop_connections(self) -> None:
        """Close all connections, as a server that restarts does."""
        for one in self.connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.connections.clear()


class _RedisConnection(socketserver.StreamRequestHandler):
    server: FakeRedis

    def handle(self) -> None:
        self.server.connections.append(self.request)
        with suppress(ConnectionError):
            while line := self.rfile.readline():
                arguments = [self._bulk() for _ in range(int(line[1:]))]
                self.wfile.write(self._answer(arguments))

    def _bulk(self) -> bytes:
        size = int(self.rfile.readline()[1:])
        return self.rfile.read(size + 2)[:-2]

    def _answer(self, arguments: list[bytes]) -> bytes:
        command, values = arguments[0].upper(), self.server.values
        if command == b"HELLO":
            return b"-ERR unknown command 'HELLO'\r\n"
        if command not in (b"GET", b"SET", b"DEL"):
            return b"+OK\r\n"
        if self.server.refuses is not None:
            return self.server.refuses
        if self.server.drops:
            self.server.drops -= 1
            raise ConnectionError
        key = arguments[1]
        if command == b"SET":
            lives = int(arguments[4]) if len(arguments) > 4 else None
            values[key] = arguments[2], lives
            return b"+OK\r\n"
        if command == b"DEL":
            return b":%d\r\n" % (values.pop(key, None) is not None)
        found = values.get(key)
        return b"$-1\r\n" if found is None else b"$%d\r\n%s\r\n" % (len(found[0]), found[0])


class FakeS3(ThreadingHTTPServer):
    """Keeps objects with their metadata, and compares ``If-Match``.

    Attributes:
        objects: by path: the body, and the headers that are kept.
        status: what every request is answered with, unless it is 200.
        signed_for: the region in the signature of the last PUT.

    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.status = 200
        self.signed_for = ""
        super().__init__(("127.0.0.1", port), _S3Request)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _S3Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeS3

    def do_GET(self) -> None:
        found = self.server.objects.get(self.path)
        if found is None:
            self._answer(404)
        else:
            self._answer(200, *found)

    def do_PUT(self) -> None:
        self.server.signed_for = self.headers["authorization"].split("/")[2]
        body = self.rfile.read(int(self.headers["content-length"]))
        before = self.server.objects.get(self.path)
        etag = None if before is None else before[1]["etag"]
        if self.headers["if-match"] not in (None, etag):
            self._answer(412)
            return
        kept = {name: value for name, value in self.headers.items() if "x-amz-meta" in name}
        kept |= {"etag": f'"{time.monotonic_ns()}"', "last-modified": self.date_time_string()}
        if self.server.status == 200:
            self.server.objects[self.path] = body, kept
        self._answer(200, headers={"etag": kept["etag"]})

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.path, None)
        self._answer(204)

    def do_POST(self) -> None:
        """Delete objects (https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html)."""
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        keys = re.findall("<Key>(.*?)</Key>", body)
        for key in keys:
            self.server.objects.pop(f"{self.path.partition('?')[0]}/{quote(key)}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        if self.server.status != 200:
            status, body, headers = self.server.status, b"", {}
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Write nothing."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve on a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def black_hole() -> Iterator[int]:
    """Yield the port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


class Process:
    """A server of its own process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.folder = Path()  # of its Unix socket

    def stop(self) -> None:
        """Let it stand still; it keeps its connections."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def make_bucket(self, name: str) -> None:
        httpx.put(f"http://127.0.0.1:{self.port}/{name}", trust_env=False).raise_for_status()


@contextmanager
def started(command: Sequence[str], *, patience: float = 20.0) -> Iterator[Process]:
    """Start a server whose command ends in its port; wait until it accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    process = subprocess.Popen(
        [*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + patience
        while True:
            assert process.poll() is None, f"{command[0]} has ended"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, f"{command[0]} does not listen"
            time.sleep(0.02)
        yield Process(process, port)
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()
