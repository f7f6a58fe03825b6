"""A real webhook receiver: it records what is posted to it, and answers as a test wants."""

import json
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SEND_BUFFER = 64 * 1024  # bytes that lie between the receiver and a slow reader


@dataclass(frozen=True)
class Received:
    """One request that reached a receiver."""

    path: str
    headers: Mapping[str, str]  # names in lower case
    content: bytes
    at: float  # in seconds, by ``time.monotonic()``
    number: int  # among the requests with this ``webhook-id``, from 1

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    def verify(self, secret: str = SECRET) -> None:
        """Check the signature, as a receiver does.

        Raises:
            WebhookVerificationError: the signature does not follow the Standard Webhooks
                specification, or was not made with ``secret``.

        """
        Webhook(secret).verify(self.content, dict(self.headers))


@dataclass(frozen=True)
class Reply:
    """A receiver's answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before the answer
    body: Iterator[bytes] | None = None  # pieces of a body without a Content-Length


Answer = Callable[[Received], Reply]


@dataclass
class Receiver:
    """A running receiver."""

    port: int
    answer: Answer
    requests: "queue.Queue[Received]" = field(default_factory=queue.Queue)
    body_sent: int = 0  # bytes of bodies that the operating system has accepted
    stopped: threading.Event = field(default_factory=threading.Event)
    _all: list[Received] = field(default_factory=list)
    _counts: Counter[str | None] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next(self, *, seconds: float = 5.0) -> Received:
        """Return the next request; raise ``queue.Empty`` if none arrives in time."""
        return self.requests.get(timeout=seconds)

    def all(self, path: str = "") -> list[Received]:
        """Return all requests so far whose path begins with ``path``."""
        with self._lock:
            return [received for received in self._all if received.path.startswith(path)]

    def record(self, path: str, headers: Mapping[str, str], content: bytes) -> Received:
        names = {name.lower(): value for name, value in headers.items()}
        webhook_id = names.get("webhook-id")
        with self._lock:
            self._counts[webhook_id] += 1
            received = Received(path, names, content, time.monotonic(), self._counts[webhook_id])
            self._all.append(received)
        self.requests.put(received)
        return received


def well(received: Received) -> Reply:
    """Answer 200."""
    return Reply()


@contextmanager
def receive(answer: Answer = well, *, port: int = 0) -> Iterator[Receiver]:
    """Receive webhooks until the context exits."""

    class Post(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"] or 0)
            content = self.rfile.read(length)
            if len(content) < length:  # the sender was killed halfway
                self.close_connection = True
                return
            reply = receiver.answer(receiver.record(self.path, dict(self.headers), content))
            receiver.stopped.wait(reply.delay)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.body is None:
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_header("Connection", "close")
            self.end_headers()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            for piece in reply.body:
                if receiver.stopped.is_set():
                    break
                self.wfile.write(piece)
                receiver.body_sent += len(piece)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the sender has left
                super().handle()

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    with Http(("127.0.0.1", port), Post) as http, ThreadPoolExecutor(1) as pool:
        receiver = Receiver(http.server_address[1], answer)
        pool.submit(http.serve_forever, 0.01)
        try:
            yield receiver
        finally:
            receiver.stopped.set()
            http.shutdown()
