"""The routes of the page to try the handlers on."""

import re
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import Scope

from potassium.http.accept import preferred

__all__ = ["Page"]

PROBE = {"type": "http", "method": "GET", "headers": [(b"accept", b"text/html")]}


class Page:
    """A page on which people try the handlers in a browser: ``GET /docs`` and ``GET /``.

    The page is the same for every app: it reads the app's schema, so it may be sent to anybody,
    also where the schema requires an API key.

    Args:
        router: that of the app, whose own routes come first. If one of them has ``/docs``, the page
            is not there; likewise for ``/``. If one has ``/docs/assets``, there is no page.

    """

    def __init__(self, router: Router) -> None:
        self._router = router
        routes = (
            _AtRoot("/", self.show_at_root, methods=["GET"], name="page_at_root"),
            _WithSlash("/docs", self.show, methods=["GET"], name="page"),
            Route("/docs/assets/{name}", self.load, methods=["GET"], name="page_assets"),
        )
        free = [one for one in routes if not _is_taken(one, router.routes)]
        self.routes: Sequence[Route] = free if routes[-1] in free else ()

    def has(self, scope: Scope) -> bool:
        """Return whether the page, or a file of it, answers the request.

        A route of the app's own may answer some requests for its path, such as those to one host.
        """
        matching = (one for one in self._router.routes if one.matches(scope)[0] is Match.FULL)
        return next(matching, None) in self.routes

    async def show(self, request: Request) -> Response:
        """Show the page, whose links are relative: a proxy may have removed any prefix."""
        from potassium.pages.assets import html  # noqa: PLC0415 - when somebody looks

        root = "../" if request.scope["path"].endswith("/") else "./"
        return html(root).response(request.headers)

    async def show_at_root(self, request: Request) -> Response:
        """Show the page at the root, which ends with ``/docs/`` if the app is mounted there."""
        from potassium.pages.assets import html  # noqa: PLC0415 - as above

        return html("./").response(request.headers)

    async def load(self, request: Request) -> Response:
        """Send a file that the page loads."""
        from potassium.pages.assets import asset  # noqa: PLC0415 - as above

        if (found := asset(request.path_params["name"])) is None:
            raise HTTPException(404)
        return found.response(request.headers)


class _WithSlash(Route):
    """A route that answers at both forms of its path."""

    def __init__(self, path: str, *arguments: object, **options: object) -> None:
        super().__init__(path, *arguments, **options)  # type: ignore[arg-type] # as of Route
        self.path_regex = re.compile(f"^{re.escape(path)}/?$")


class _AtRoot(Route):
    """A route for browsers only: for all others, the root is what it is without the page."""

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


def _is_taken(route: Route, others: Sequence[BaseRoute]) -> bool:
    scope = {**PROBE, "path": route.path.replace("{name}", "x.js")}
    return any(other.matches(scope)[0] is Match.FULL for other in others)
