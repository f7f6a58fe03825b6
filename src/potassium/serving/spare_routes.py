"""Routes that step back for the app's own."""

from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

__all__ = ["SpareRoutes"]

PROBE = {"type": "http", "method": "GET", "headers": [(b"accept", b"text/html")]}


class SpareRoutes:
    """Routes that answer where no route of the app itself does, to anybody.

    Args:
        routes: such routes, which answer GET.
        others: the routes of the app itself, which come first.

    Attributes:
        routes: those that none of the others takes the place of.

    """

    def __init__(self, routes: Iterable[Route], others: Iterable[BaseRoute]) -> None:
        taken = tuple(others)
        self.routes: Sequence[Route] = [one for one in routes if not _is_taken(one, taken)]

    def has(self, scope: Scope) -> bool:
        """Return whether one of them answers the request."""
        return any(route.matches(scope)[0] is Match.FULL for route in self.routes)


def _is_taken(route: Route, others: Iterable[BaseRoute]) -> bool:
    scope = {**PROBE, "path": route.path.replace("{name}", "x.js")}
    return any(other.matches(scope)[0] is Match.FULL for other in others)
