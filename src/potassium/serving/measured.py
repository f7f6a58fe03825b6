"""Tells in the head of a response how long the call took, and how busy the server is."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from potassium.http.exchange import SCOPE_KEY, Exchange
from potassium.http.load_report import ASKS_FOR_LOAD, load_report
from potassium.http.server_timing import server_timing
from potassium.serving.runtime import Runtime

if TYPE_CHECKING:
    from potassium.engine import Job

__all__ = ["ServerTiming", "as_it_is", "measured"]

ASKS_FOR_TIMES = b"x-timing"
ASKS = frozenset((ASKS_FOR_TIMES, ASKS_FOR_LOAD))


def measured(send: Send, scope: Scope, runtime: Runtime) -> Send:
    """Return what sends the response to a request, with what its headers ask for.

    ``X-Timing: 1`` asks for ``Server-Timing``, ``endpoint-load-metrics-format`` for the load.
    """
    for name, _ in scope["headers"]:  # a loop: any() takes twice as long, for each call
        if name in ASKS:
            return _Head(send, scope, runtime).send
    return send


def as_it_is(send: Send, _: Scope, __: Runtime) -> Send:
    """Return ``send``: what is sent is measured by ``ServerTiming``."""
    return send


class ServerTiming:
    """ASGI middleware that adds ``Server-Timing`` to every response, with the total.

    It also adds what requests ask for, so that nothing else need do that.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            send = _Head(send, scope, self._runtime, always_timed=True).send
        await self._app(scope, receive, send)


class _Head:
    """Adds headers to the head of a response."""

    def __init__(
        self, send: Send, scope: Scope, runtime: Runtime, *, always_timed: bool = False
    ) -> None:
        self._send = send
        self._runtime = runtime
        self._always_timed = always_timed
        headers = dict(scope["headers"])
        self._is_timed = always_timed or headers.get(ASKS_FOR_TIMES, b"").strip() == b"1"
        self._form: bytes | None = headers.get(ASKS_FOR_LOAD)
        exchange: Exchange | None = scope.get(SCOPE_KEY)
        if exchange is None:  # nobody else measures it; without the scope, which refers to it
            exchange = scope[SCOPE_KEY] = Exchange({}, send, time.monotonic())
        self._exchange = exchange

    async def send(self, message: Message) -> None:
        """Send a message of the app's."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *self._headers()]
            message = {**message, "headers": headers}
        await self._send(message)

    def _headers(self) -> Iterator[tuple[bytes, bytes]]:
        exchange, services = self._exchange, self._runtime.services
        if self._is_timed:
            arrived_at = exchange.began_at if self._always_timed else None
            if times := server_timing(cast("Job | None", exchange.call), arrived_at):
                yield b"server-timing", times
        if self._form is None or services is None:
            return
        if report := load_report(self._form, services.load.load()):
            yield b"endpoint-load-metrics", report
