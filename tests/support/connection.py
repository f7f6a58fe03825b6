"""One connection without a network, in an event loop whose time a test moves."""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from potassium import Limits
from potassium.connections import Connections
from support.manual_time import ManualLoop
from support.responses import Response, responses

HIGH_WATER = 64 * 1024  # bytes, as in asyncio
STEP = 0.25  # seconds


class Wire(asyncio.Transport):
    """A transport whose other side a test plays.

    ``kernel`` is how many bytes are taken from the server before the client reads.
    """

    def __init__(self, loop: ManualLoop, protocol: asyncio.Protocol, kernel: float) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 50_000)})
        self._loop = loop
        self.protocol = protocol
        self.kernel = kernel
        self.sent = b""  # what the client has received
        self.unread = b""
        self.incoming: list[bytes] = []
        self.is_paused = self.is_lost = self.has_ended = self.was_aborted = False
        self._is_closing = self._is_full = False
        self.sends_no_more = self.has_got_end = False

    def write(self, data: Any) -> None:
        assert not self.has_ended, "written after the end"
        if self._is_closing:
            return
        self.unread += bytes(data)
        self.flush()
        if not self._is_full and len(self.unread) > HIGH_WATER:
            self._is_full = True
            self.protocol.pause_writing()

    def flush(self) -> None:
        """Let the client receive what it has room for."""
        room = int(max(0, min(self.kernel - len(self.sent), len(self.unread))))
        self.sent, self.unread = self.sent + self.unread[:room], self.unread[room:]
        if self._is_full and len(self.unread) <= HIGH_WATER // 4:
            self._is_full = False
            self.protocol.resume_writing()
        if self._is_closing and not self.unread:
            self.lose()

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        if not self.unread:
            self.lose()

    def abort(self) -> None:
        self.was_aborted = self._is_closing = True
        self.unread = b""
        self.lose()

    def lose(self) -> None:
        self._is_closing = True
        if not self.is_lost:
            self.is_lost = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False
        self._loop.call_soon(self.deliver)

    def deliver(self) -> None:
        """Let the server receive what it reads."""
        while self.incoming and not self.is_paused and not self._is_closing:
            self.protocol.data_received(self.incoming.pop(0))
        if self.sends_no_more and not (self.incoming or self.is_paused or self._is_closing):
            assert not self.has_got_end, "received the end twice"
            self.has_got_end = True
            if not self.protocol.eof_received():
                self.close()


class Client:
    """The client of a connection."""

    def __init__(self, bench: "Bench", protocol: asyncio.Protocol, kernel: float) -> None:
        self._bench = bench
        self.wire = Wire(bench.loop, protocol, kernel)
        bench.call(lambda: protocol.connection_made(self.wire))

    def send(self, *segments: bytes) -> "Client":
        """Send segments, each of which is dealt with before the next one comes."""
        for segment in segments:
            self.wire.incoming.append(segment)
            self._bench.call(self.wire.deliver)
        return self

    def half_close(self) -> None:
        """Send no more, but read on."""

        self.wire.sends_no_more = True
        self._bench.call(self.wire.deliver)

    def leave(self) -> None:
        """Reset the connection."""
        self._bench.call(self.wire.lose)

    def read(self, size: float = float("inf")) -> None:
        """Read on."""
        self.wire.kernel += size
        self._bench.call(self.wire.flush)

    def responses(self, *methods: str) -> list[Response]:
        """Return what has been received so far, interim responses too."""
        return responses(self.wire.sent, methods)

    def statuses(self, *methods: str) -> list[int]:
        """Return the statuses of what has been received so far."""
        return [one.status for one in self.responses(*methods)]

    @property
    def is_closed(self) -> bool:
        return self.wire.is_lost

    @property
    def has_end(self) -> bool:
        """Whether the client has received the end of what the server sends."""
        return self.wire.is_lost or self.wire.has_ended


class Bench:
    """A server's connections, without a server; ``errors`` are those that reach the event loop."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits | None = None,
        keep_alive: float = 75,
        http: Any = None,
        **options: Any,
    ) -> None:
        self.loop = ManualLoop()
        self.errors: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.config = uvicorn.Config(app, log_config=None, **{"ws": "none", **options})
        self.config.load()
        self.state = ServerState()
        self._clients: list[Client] = []
        self.http = http or Connections(limits or Limits(connections=1000), keep_alive)

    def connect(self, kernel: float = float("inf")) -> Client:
        """Return a new client, which reads ``kernel`` bytes by itself."""
        made: list[Any] = []
        self.call(lambda: made.append(self.http(self.config, self.state, {}, self.loop)))
        self._clients.append(Client(self, made[0], kernel))
        return self._clients[-1]

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` in the loop, and let all that follows from it happen."""
        self.loop.call_soon(function)
        self.loop.rest()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        end = self.loop.now + seconds
        while self.loop.now < end:
            self.loop.now = min(end, self.loop.now + STEP)
            self.loop.rest()

    def close(self) -> None:
        """Check that nothing is left, and end."""
        for client in self._clients:
            client.leave()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.rest()
        self.loop.close()
        assert not self.errors, self.errors
        assert not self.state.tasks


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what has been received, as JSON."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    about = [scope["method"], scope["path"], body.decode("latin-1")]
    await respond(send, json.dumps(about).encode())


async def respond(
    send: Send,
    body: bytes = b"",
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a response whose length is known."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


class NoWebSocket(asyncio.Protocol):
    """Stands for a WebSocket protocol that must not be used."""

    def __init__(self, **_: Any) -> None:
        raise AssertionError
