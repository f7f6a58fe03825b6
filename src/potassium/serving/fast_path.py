"""Routes requests: directly to handlers, everything else through Starlette."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from potassium.http.path import path_below_mount

__all__ = ["FastPath"]


class FastPath:
    """Routes a POST on a path in ``endpoints`` directly to its endpoint, the rest to ``rest``.

    Going through Starlette's middleware and router takes longer than the whole endpoint.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], rest: ASGIApp) -> None:
        self._endpoints = endpoints
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        app: ASGIApp | None = None
        if scope["type"] == "http" and scope["method"] == "POST":
            app = self._endpoints.get(path_below_mount(scope))
        await (app or self._rest)(scope, receive, send)
