"""The way in: handlers straight away, everything else through Starlette."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from potassium.path import path_below_mount

__all__ = ["Front"]


class Front:
    """Sends a POST on a handler's path right to it, and the rest to ``rest``.

    The way through Starlette's middleware and router takes longer than the whole endpoint.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], rest: ASGIApp) -> None:
        """Look POST requests up in ``endpoints``, by path."""
        self._endpoints = endpoints
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        app: ASGIApp | None = None
        if scope["type"] == "http" and scope["method"] == "POST":
            app = self._endpoints.get(path_below_mount(scope))
        await (app or self._rest)(scope, receive, send)
