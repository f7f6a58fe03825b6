"""The uvicorn server that connections belong to."""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any, Protocol, cast
from urllib.parse import quote

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from potassium.connections.crowd import Refused
from potassium.connections.turns import Turns
from potassium.errors import TooManyConnections
from potassium.http.problem import problem_reply
from potassium.http.request_id import request_id_of

__all__ = ["Host"]


class Runnable(Protocol):
    """A request that waits for its response."""

    scope: Scope
    task: asyncio.Task[None] | None

    def run(self, app: ASGIApp, tasks: set[asyncio.Task[Any]]) -> Coroutine[Any, Any, None]:
        """Let ``app`` answer the request; at the end, remove ``task`` from ``tasks``."""


class Host:
    """The parts of uvicorn that connections use: app, options, and lists of what is open.

    ``refused`` is told of each request that the app does not see, because there are too many.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        app_state: dict[str, Any],
        refused: Refused,
    ) -> None:
        self.config = config
        self.state: Any = state  # it lists protocols; this one is our own
        self.app_state = app_state
        self._refused = refused
        self._app: ASGIApp = config.loaded_app
        self._unproxied = _without_proxy_headers(self._app)
        self._resets_context = getattr(config, "reset_contextvars", False)  # not in 0.38
        self.asgi_version = config.asgi_version
        self.loop = asyncio.get_running_loop()
        access_log = logging.getLogger("uvicorn.access")
        self._access_log = access_log if access_log.hasHandlers() else None
        self.turns = Turns(self.loop)
        self._headers: list[tuple[bytes, bytes]] = []
        self._encoded = b""

    @property
    def default_headers(self) -> bytes:
        """The encoded headers that uvicorn adds to every response; it renews them each second."""
        if self.state.default_headers is not self._headers:
            self._headers = self.state.default_headers
            self._encoded = b"".join(b"%b: %b\r\n" % field for field in self._headers)
        return self._encoded

    @property
    def _is_crowded(self) -> bool:
        """Whether uvicorn's ``limit_concurrency`` is exceeded."""
        most = self.config.limit_concurrency
        return most is not None and (
            len(self.state.connections) >= most or len(self.state.tasks) >= most
        )

    def new_scope(self, common: dict[str, Any]) -> Scope:
        """Return the part of an ASGI scope that all requests of a connection share."""
        scope = common.copy()
        scope["asgi"] = {"version": self.asgi_version, "spec_version": "2.3"}
        scope["state"] = self.app_state.copy()
        return scope

    def scope_of(self, transport: asyncio.BaseTransport) -> dict[str, Any]:
        """Return the part that the ASGI scopes of a connection share and none of them changes."""
        return {
            "type": "http",
            "server": _address(transport.get_extra_info("sockname"), is_local=True),
            "client": _address(transport.get_extra_info("peername")),
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "root_path": self.config.root_path,
        }

    def speak_websocket(self, transport: asyncio.Transport, received: bytes) -> None:
        """Pass a connection, and what it has received, to uvicorn's WebSocket protocol."""
        protocol = cast("Any", self.config.ws_protocol_class)(
            config=self.config, server_state=self.state, app_state=self.app_state
        )
        protocol.connection_made(transport)
        protocol.data_received(received)
        transport.set_protocol(protocol)

    def log_access(self, scope: Scope, status: int) -> None:
        """Log a response in uvicorn's access log, if that is on."""
        if self._access_log is not None:
            query = scope["query_string"].decode("ascii", "backslashreplace")
            self._access_log.info(
                '%s - "%s %s HTTP/%s" %d',
                "{}:{}".format(*scope["client"]) if scope["client"] else "",
                scope["method"],
                quote(scope["path"]) + (f"?{query}" if query else ""),
                scope["http_version"],
                status,
            )

    def _app_for(self, scope: Scope) -> ASGIApp:
        for name, _ in scope["headers"]:
            if b"forwarded" in name:  # X-Forwarded-For and its like
                return self._app
        return self._unproxied

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503."""
        del receive
        error = TooManyConnections(retry_after=1)
        self._refused(error, scope)
        request_id = request_id_of(scope)
        await problem_reply(error, request_id).send(request_id, send)

    def run(self, exchange: Runnable) -> None:
        """Run the app for ``exchange`` in a task."""
        app = self._refuse if self._is_crowded else self._app_for(exchange.scope)
        running = exchange.run(app, self.state.tasks)
        context = contextvars.Context() if self._resets_context else None
        task = self.loop.create_task(running, context=context)
        exchange.task = task
        self.state.tasks.add(task)


def _address(name: Any, *, is_local: bool = False) -> tuple[str, int | None] | None:
    """Return an address as ASGI has it: host and port, or the path of a Unix socket."""
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if is_local and isinstance(name, str) and name else None


def _without_proxy_headers(app: ASGIApp) -> ASGIApp:
    """Return the app for requests that no proxy has forwarded.

    uvicorn's middleware has nothing to do for these, and takes a twentieth of the time of a call.
    """
    return cast("ASGIApp", app.app) if isinstance(app, ProxyHeadersMiddleware) else app
