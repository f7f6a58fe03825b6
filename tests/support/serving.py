"""A uvicorn server in a thread of its own, with Potassium's connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from potassium import Limits
from potassium.connections import Connections


@contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[tuple[uvicorn.Server, Any]]:
    """Serve ``app`` until the context exits; yield the server, and what to connect to.

    At the end, there may be neither a connection nor a task left.
    """
    config = uvicorn.Config(
        app,
        **{
            "http": Connections(Limits(), 75),
            "loop": "uvloop",
            "ws": "none",
            "lifespan": "off",
            "log_config": None,
            "timeout_graceful_shutdown": 1,
            **options,
        },
    )
    server = uvicorn.Server(config)
    sockets = None
    address: Any = config.uds
    if address is None:
        listener = socket.create_server(("127.0.0.1", 0))
        address, sockets = listener.getsockname(), [listener]
    started = threading.Event()
    startup = server.startup

    async def start(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = start  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        assert started.wait(10)
        yield server, address
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()
    assert not server.server_state.tasks


def exchange(connection: socket.socket, data: bytes = b"") -> bytes:
    """Send ``data``, and return what comes until the other side closes; close this one then."""
    with connection:
        connection.settimeout(10)
        if data:
            connection.sendall(data)
        pieces = []
        while piece := connection.recv(1_000_000):
            pieces.append(piece)
    return b"".join(pieces)
