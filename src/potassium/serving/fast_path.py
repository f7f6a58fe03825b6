"""Routes requests: directly to handlers, everything else through Starlette."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["FastPath", "path_below_mount"]


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


def path_below_mount(scope: Scope) -> str:
    """Return the path without the prefix where the app is mounted (ASGI ``root_path``)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path
