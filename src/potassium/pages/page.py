"""The routes of the page on which people try the handlers."""

import re

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router
from starlette.types import Scope

from potassium.http.accept import preferred
from potassium.serving.spare_routes import SpareRoutes

__all__ = ["Page"]

PREFIX = re.compile(r"(/[\w.~-]+)+/?", re.ASCII)


class Page(SpareRoutes):
    """A page on which people try the handlers in a browser: ``GET /docs`` and ``GET /``.

    The page is the same for every app, because it reads the app's schema. It may therefore be sent
    to anyone, even if the schema requires an API key.

    Args:
        router: that of the app, whose own routes come first. If one of them has ``/docs``, the page
            is not there; likewise for ``/``. If one has ``/docs/assets``, there is no page.

    """

    def __init__(self, router: Router) -> None:
        routes = (
            _AtRoot("/", self.show_at_root, methods=["GET"], name="page_at_root"),
            _WithSlash("/docs", self.show, methods=["GET"], name="page"),
            Route("/docs/assets/{name}", self.load, methods=["GET"], name="page_assets"),
        )
        super().__init__(routes, router)
        if routes[-1] not in self.routes:
            self.routes = ()

    async def show(self, request: Request) -> Response:
        """Show the page. Its links are relative, because a proxy may have removed a prefix."""
        from potassium.pages.assets import html  # noqa: PLC0415 - only when needed

        root = "../" if request.scope["path"].endswith("/") else "./"
        return html(root).response(request.headers)

    async def show_at_root(self, request: Request) -> Response:
        """Show the page at the root, whose URL always ends with a slash."""
        from potassium.pages.assets import html  # noqa: PLC0415 - as above

        return html(_prefix(request) or "./").response(request.headers)

    async def load(self, request: Request) -> Response:
        """Send a file that the page loads."""
        from potassium.pages.assets import asset  # noqa: PLC0415 - as above

        if (found := asset(request.path_params["name"])) is None:
            raise HTTPException(404)
        return found.response(request.headers)


def _prefix(request: Request) -> str:
    """Return the path of the app, if it is at its server's root and a proxy says that path.

    The proxy has removed it, and perhaps the slash at its end was not there: relative links would
    not find the files then.
    """
    root = request.scope.get("root_path", "")
    said = request.headers.get("x-forwarded-prefix", "")
    is_mounted = root != request.scope.get("app_root_path", root)
    return "" if is_mounted or not PREFIX.fullmatch(said) else f"{said.rstrip('/')}/"


class _WithSlash(Route):
    """A route that matches its path with and without a trailing slash."""

    def __init__(self, path: str, *arguments: object, **options: object) -> None:
        super().__init__(path, *arguments, **options)  # type: ignore[arg-type] # those of Route
        self.path_regex = re.compile(f"^{re.escape(path)}/?$")


class _AtRoot(Route):
    """A route for browsers only; for other clients, the root is as it would be without the page."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match = super().matches(scope)
        if match[0] is not Match.FULL or not _wants_html(scope):
            return Match.NONE, {}
        return match


def _wants_html(scope: Scope) -> bool:
    """Return whether a request names HTML, and prefers it to JSON."""
    named = any(
        name == b"accept" and b"text/html" in value.lower() for name, value in scope["headers"]
    )
    return named and preferred(scope["headers"], ("text/html", "application/json")) == "text/html"
