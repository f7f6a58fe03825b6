"""Tells observers of each request and its response."""

import time
from collections.abc import Callable, Collection, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from potassium.http.exchange import SCOPE_KEY, Exchange, ExchangeObserver
from potassium.http.path import path_below_mount

__all__ = ["Exchanges"]

Tell = Callable[[Exchange], None]


class Exchanges:
    """ASGI middleware that tells ``observers`` of each HTTP request; outside of all others.

    Args:
        handlers: the paths of handlers; other paths are too many to tell them apart.

    """

    def __init__(
        self,
        app: ASGIApp,
        observers: Sequence[ExchangeObserver],
        handlers: Collection[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._began = _each([observer.began for observer in observers])
        self._ended = _each([observer.ended for observer in reversed(observers)])
        self._handlers = handlers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[SCOPE_KEY] = Exchange(scope, send, self._clock())
        self._began(exchange)
        try:
            await self._app(scope, receive, exchange.send)
        finally:
            exchange.ended_at = self._clock()
            if not exchange.handler and (path := path_below_mount(scope)) in self._handlers:
                exchange.handler = path  # it was refused before it got there
            self._ended(exchange)
            del scope[SCOPE_KEY]  # which refers to the scope: nothing is left for the collector


def _each(tell: Sequence[Tell]) -> Tell:
    """Return what calls each of ``tell``: if there is only one, that one, which costs less."""
    if len(tell) == 1:
        return tell[0]

    def tell_each(exchange: Exchange) -> None:
        for one in tell:
            one(exchange)

    return tell_each
