"""Tells observers of each request and its response."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from starlette.types import ASGIApp, Receive, Scope, Send

from potassium.errors import ClientLeft, PotassiumError
from potassium.http.exchange import SCOPE_KEY, Exchange, ExchangeObserver
from potassium.http.path import path_below_mount

__all__ = ["Exchanges"]

Tell = Callable[[Exchange], None]

NOTHING: Mapping[str, ASGIApp] = MappingProxyType({})


class Exchanges:
    """ASGI middleware that tells ``observers`` of each HTTP request; outside of all others.

    Args:
        handlers: the paths of handlers; other paths are too many to tell them apart.
        direct: the handlers that a POST may go to without passing ``app``, by path.
        is_quiet: returns whether a request is for health, metrics or the page.

    """

    def __init__(  # noqa: PLR0913 - what decides about a request
        self,
        app: ASGIApp,
        observers: Sequence[ExchangeObserver],
        handlers: Collection[str],
        is_quiet: Callable[[Scope], bool] = lambda _: False,
        *,
        direct: Mapping[str, ASGIApp] = NOTHING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._began = _each([observer.began for observer in observers])
        self._ended = _each([observer.ended for observer in reversed(observers)])
        self._handlers = handlers
        self._is_quiet = is_quiet
        self._direct = direct
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[SCOPE_KEY] = Exchange(scope, send, self._clock())
        app = self._place(exchange)
        self._began(exchange)
        try:
            await app(scope, receive, exchange.send)
        except asyncio.CancelledError:
            raise  # there is nobody left to answer
        except BaseException:
            if not exchange.status:  # then the server answers
                exchange.status, exchange.code = PotassiumError.status, PotassiumError.code
            raise
        finally:
            if not exchange.status:
                exchange.status, exchange.code = ClientLeft.status, ClientLeft.code
            exchange.ended_at = self._clock()
            self._ended(exchange)
            del scope[SCOPE_KEY]  # which refers to the scope: nothing is left for the collector

    def _place(self, exchange: Exchange) -> ASGIApp:
        """Return what serves a request; note its handler, also if it never gets there."""
        scope = exchange.scope
        path = path_below_mount(scope)
        if scope["method"] == "POST":
            if (endpoint := self._direct.get(path)) is not None:
                exchange.handler = path
                return endpoint
            if path in self._handlers:
                exchange.handler = path
                return self._app
        if self._is_quiet(scope):
            exchange.is_quiet = True
        elif path in self._handlers:
            exchange.handler = path
        return self._app


def _each(tell: Sequence[Tell]) -> Tell:
    """Return what calls each of ``tell``: if there is only one, that one, which costs less."""
    if len(tell) == 1:
        return tell[0]

    def tell_each(exchange: Exchange) -> None:
        for one in tell:
            one(exchange)

    return tell_each
