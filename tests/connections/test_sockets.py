"""What only a network shows: TLS, Unix sockets, resets, and uvicorn's own options."""

import asyncio
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn
from support.connection import echo, respond
from support.responses import responses
from support.serving import exchange, serving

CLOSE = b"Host: a\r\nConnection: close\r\n\r\n"
GET = b"GET / HTTP/1.1\r\n" + CLOSE
LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
BIG = 20_000_000  # bytes


async def big(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, b"x" * BIG)


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    """Answer 413 before anything of the body has been read, and close."""
    await respond(send, b"too large", 413, [(b"connection", b"close")])


class Watcher:
    """An app that waits for its client to leave."""

    def __init__(self) -> None:
        self.has_begun, self.client_left = threading.Event(), threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.has_begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.client_left.set()


class Certificates:
    """A server's, and a client that trusts it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            folder / "server.pem"
        )
        self.options: dict[str, Any] = {"ssl_certfile": str(folder / "server.pem")}
        self._context = ssl.create_default_context()
        authority.configure_trust(self._context)

    def connect(self, address: Any) -> ssl.SSLSocket:
        plain = socket.create_connection(address, 10)
        return self._context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@LOOPS
def test_a_call_over_tls(certificates: Certificates, loop: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["scheme"])
        await echo(scope, receive, send)

    with serving(app, loop=loop, **certificates.options) as (_, address):
        (response,) = responses(exchange(certificates.connect(address), GET))
    assert response.status == 200
    assert seen == ["https"]


@LOOPS
def test_a_big_response(certificates: Certificates, loop: str) -> None:
    for options in ({}, certificates.options):
        with serving(big, loop=loop, **options) as (_, address):
            connect = certificates.connect if options else socket.create_connection
            (response,) = responses(exchange(connect(address), GET))
        assert len(response.body) == BIG


@LOOPS
@pytest.mark.parametrize("half_closes", [True, False])
def test_a_client_that_leaves_is_noticed(loop: str, *, half_closes: bool) -> None:
    """Though one that closes its socket looks like one that only sends no more."""
    app = Watcher()
    with serving(app, loop=loop) as (_, address):
        client = socket.create_connection(address, 10)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert app.has_begun.wait(10)
        if half_closes:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.close()
        assert app.client_left.wait(10)


@LOOPS
def test_a_client_that_leaves_is_noticed_over_tls(certificates: Certificates, loop: str) -> None:
    app = Watcher()
    with serving(app, loop=loop, **certificates.options) as (_, address):
        client = certificates.connect(address)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert app.has_begun.wait(10)
        client.close()
        assert app.client_left.wait(10)


@LOOPS
def test_a_half_closed_client_gets_its_responses(loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02)
        await echo(scope, receive, send)

    with serving(app, loop=loop) as (_, address), socket.create_connection(address) as client:
        client.sendall(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        got = [one for one in responses(exchange(client)) if one.status != 100]
    assert [json.loads(one.body)[1] for one in got] == ["/a", "/b"]


@LOOPS
@pytest.mark.parametrize("reads", ["none of it", "all at the end"])
def test_a_refusal_reaches_a_client_that_is_still_sending(loop: str, reads: str) -> None:
    """It is not overtaken by a reset (RFC 9112, section 9.6)."""
    heads = {
        413: b"POST / HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n",
        431: b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n",
        400: b"nonsense\r\n\r\n",
    }
    with serving(refuses, loop=loop) as (_, address):
        for status, head in heads.items():
            with socket.create_connection(address, 10) as client:
                client.sendall(head)
                if reads == "none of it":
                    while not client.recv(1, socket.MSG_PEEK):
                        pass
                for _ in range(50):
                    client.sendall(b"x" * 100_000)
                (response,) = responses(exchange(client))
                assert (response.status, response.complete) == (status, True)


def test_a_refusal_reaches_a_client_that_is_still_sending_over_tls(
    certificates: Certificates,
) -> None:
    with serving(refuses, **certificates.options) as (_, address):
        client = certificates.connect(address)
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n")
        for _ in range(50):
            client.sendall(b"x" * 100_000)
        received = client.recv(100_000)
        client.close()
    assert responses(received)[0].status == 413


def test_a_unix_socket(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["server"], scope["client"]))
        await echo(scope, receive, send)

    path = str(tmp_path / "socket")
    with serving(app, uds=path) as (_, address):
        client = socket.socket(socket.AF_UNIX)
        client.connect(address)
        assert responses(exchange(client, GET))[0].status == 200
    assert seen == [((path, None), None)]


def test_the_access_log_is_uvicorns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serving(echo) as (_, address):
        client = socket.create_connection(address, 10)
        port = client.getsockname()[1]
        exchange(client, b"GET /a%20b?c=%64 HTTP/1.1\r\n" + CLOSE)
    lines = [one.getMessage() for one in caplog.records if one.name == "uvicorn.access"]
    assert lines == [f'127.0.0.1:{port} - "GET /a%20b?c=%64 HTTP/1.1" 200']


def test_the_access_log_may_be_off(caplog: pytest.LogCaptureFixture) -> None:
    access = logging.getLogger("uvicorn.access")
    before = access.handlers, access.propagate
    try:
        with caplog.at_level(logging.INFO), serving(echo, access_log=False) as (_, address):
            exchange(socket.create_connection(address, 10), GET)
    finally:
        access.handlers, access.propagate = before
    assert not [one for one in caplog.records if one.name == "uvicorn.access"]


def test_limit_concurrency() -> None:
    with serving(echo, limit_concurrency=2) as (_, address):
        first = socket.create_connection(address, 10)
        first.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert responses(first.recv(10_000))[0].status == 200
        with socket.create_connection(address, 10) as second:
            (response,) = responses(exchange(second, GET))
        first.close()
    assert response.status == 503
    assert response.headers[b"retry-after"] == b"1"


def test_root_path() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["root_path"], scope["path"], scope["raw_path"]))
        await echo(scope, receive, send)

    with serving(app, root_path="/api") as (_, address):
        exchange(socket.create_connection(address, 10), b"GET /a%20b HTTP/1.1\r\n" + CLOSE)
    assert seen == [("/api", "/api/a b", b"/api/a%20b")]


def test_headers_of_the_servers_own() -> None:
    options: dict[str, Any] = {
        "headers": [("X-Two", "1")],
        "date_header": False,
        "server_header": False,
    }
    with serving(echo, **options) as (_, address):
        (response,) = responses(exchange(socket.create_connection(address, 10), GET))
    assert response.headers[b"x-two"] == b"1"
    assert not {b"date", b"server"} & response.headers.keys()


def test_limit_max_requests() -> None:
    with serving(echo, limit_max_requests=2) as (server, address):
        for _ in range(2):
            exchange(socket.create_connection(address, 10), GET)
        assert server.server_state.total_requests == 2
        for thread in threading.enumerate():
            if thread.name.endswith("(run)"):
                thread.join(10)
                assert not thread.is_alive()


def test_a_server_that_shuts_down_lets_calls_end() -> None:
    begun, told = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.to_thread(told.wait, 10)
        await echo(scope, receive, send)

    with serving(app, timeout_graceful_shutdown=10) as (server, address):
        idle = socket.create_connection(address, 10)
        busy = socket.create_connection(address, 10)
        busy.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert begun.wait(10)
        server.should_exit = True
        assert exchange(idle) == b""
        told.set()
        (response,) = responses(exchange(busy))
    assert (response.status, response.closes) == (200, True)
    assert not server.server_state.connections


class Sockets(asyncio.Protocol):
    """Stands for a WebSocket protocol: sends back all that it gets."""

    def __init__(self, config: uvicorn.Config, server_state: Any, app_state: Any) -> None:
        self.state = server_state

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.connections.discard(self)

    def shutdown(self) -> None:
        self.transport.close()


UPGRADE = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("size", [0, 900, 3000])
@pytest.mark.parametrize("behind", [0, 5000])
def test_websockets_are_left_to_uvicorns_protocol(size: int, behind: int) -> None:
    """With the request, whatever its size, and all that came with it."""
    head = b"GET /x?y HTTP/1.1\r\n" + UPGRADE + b"X: %b\r\n\r\n" % (b"x" * size)
    frames = b"\x00\xff" * behind
    with serving(echo, ws=Sockets) as (_, address):
        client = socket.create_connection(address, 10)
        client.sendall(head + frames)
        client.sendall(b"more")
        client.shutdown(socket.SHUT_WR)
        got = exchange(client)
    fields = UPGRADE.replace(b"Connection", b"connection").replace(b"Upgrade:", b"upgrade:")
    expected = head.replace(UPGRADE, fields).replace(b"X: ", b"x: ")
    assert got == expected + frames + b"more"


def test_websockets_of_a_real_library() -> None:
    websockets = pytest.importorskip("websockets.sync.client")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    with (
        serving(app, ws="websockets-sansio") as (_, address),
        websockets.connect("ws://{}:{}/".format(*address)) as client,
    ):
        client.send("a")
        assert client.recv() == "a"


def test_without_websockets_their_requests_are_plain_ones() -> None:
    with serving(echo) as (_, address):
        data = b"GET / HTTP/1.1\r\n" + UPGRADE.replace(b"keep-alive", b"close") + b"\r\n"
        (response,) = responses(exchange(socket.create_connection(address, 10), data))
    assert response.status == 200


@pytest.fixture(autouse=True)
def _nothing_is_on_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No error reaches the event loop."""
    yield
    assert not [it for it in caplog.records if it.levelno >= logging.ERROR]
