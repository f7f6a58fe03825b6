"""Routes that step back for the app's own."""

from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import Scope

__all__ = ["SpareRoutes"]

PROBE = {"type": "http", "method": "GET", "headers": [(b"accept", b"text/html")]}


class SpareRoutes:
    """Routes that answer where no route of the app itself does, to anybody.

    Args:
        routes: such routes, which answer GET.
        router: that of the app, whose own routes come first.

    Attributes:
        routes: those that none of the app's own takes the place of, to be added behind them.

    """

    def __init__(self, routes: Iterable[Route], router: Router) -> None:
        self._router = router
        taken = tuple(router.routes)
        self.routes: Sequence[Route] = [one for one in routes if not _is_taken(one, taken)]

    def has(self, scope: Scope) -> bool:
        """Return whether one of them answers the request.

        A route of the app's own may answer some requests for its path, such as those to one host.
        """
        matching = (one for one in self._router.routes if one.matches(scope)[0] is Match.FULL)
        return next(matching, None) in self.routes


def _is_taken(route: Route, others: Iterable[BaseRoute]) -> bool:
    scope = {**PROBE, "path": route.path.replace("{name}", "x.js")}
    return any(other.matches(scope)[0] is Match.FULL for other in others)
