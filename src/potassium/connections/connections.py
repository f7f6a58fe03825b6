"""Creates the protocol of each connection that uvicorn accepts."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from potassium.config import Limits
from potassium.connections.connection import Connection
from potassium.connections.crowd import Crowd, Refused
from potassium.connections.host import Host

__all__ = ["Connections"]


class Connections:
    """Serves one server's connections within ``limits``: ``uvicorn.Config(http=Connections(...))``.

    Args:
        limits: what each connection may send, and for how long.
        keep_alive: seconds for which an idle connection is kept.
        refused: is told of each error that a connection answers with by itself, and gets a scope
            with the connection's addresses and no headers.

    """

    def __init__(
        self,
        limits: Limits,
        keep_alive: float,
        refused: Refused = lambda _, __: None,
    ) -> None:
        self._limits = limits
        self._refused = refused
        self._keep_alive = keep_alive
        self._host: Host | None = None
        self._crowd: Crowd | None = None

    def __call__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection:
        """Return the protocol of a new connection; uvicorn calls this."""
        if self._host is None or self._crowd is None or self._host.state is not server_state:
            self._host = Host(config, server_state, app_state, self._refused)
            self._crowd = Crowd(self._limits, self._keep_alive, self._refused)
        return Connection(self._host, self._crowd)
