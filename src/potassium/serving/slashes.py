"""Paths with and without a slash at the end."""

import re
from collections.abc import Collection
from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.routing import Match, Route, Router
from starlette.types import Receive, Scope, Send

__all__ = ["HandlerRoute", "OtherForm", "without_slash"]


def without_slash(path: str) -> str:
    """Return the form of ``path`` without a slash at its end, if it is not the root."""
    return path.removesuffix("/") or "/"


class HandlerRoute(Route):
    """The route of a handler, which answers at both forms of its path.

    A redirect of a POST would cost the client a second upload of its body, if it follows it at all.
    """

    def __init__(self, path: str, endpoint: object, name: str, methods: Collection[str]) -> None:
        super().__init__(path, endpoint, methods=methods, name=name)  # type: ignore[arg-type] # ASGI
        self.path_regex = re.compile(f"^{re.escape(path.rstrip('/'))}/?$")


class OtherForm:
    """Redirects from one form of a route's path to the other, in place of a router's own redirects.

    The target has neither scheme nor host: behind a proxy that terminates TLS, they would be wrong.
    """

    def __init__(self, router: Router) -> None:
        """Become what ``router`` calls for a path that it does not have."""
        self._router = router
        self._not_found = router.default
        router.redirect_slashes = False
        router.default = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that no route has matched."""
        path = scope["path"]
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        is_redirect = (
            scope["type"] == "http"
            and other.startswith("/")
            and not other.startswith("//")  # which would name another host
            and self._has({**scope, "path": other})
        )
        if not is_redirect:
            await self._not_found(scope, receive, send)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        target = quote(other) + (f"?{query}" if query else "")
        await RedirectResponse(target)(scope, receive, send)

    def _has(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in self._router.routes)
