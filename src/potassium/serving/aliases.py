"""The health pages at the paths where other servers have them."""

from collections.abc import Callable

from starlette.routing import Route, Router
from starlette.types import Scope

from potassium.serving.health import Health
from potassium.serving.runtime import Runtime
from potassium.serving.spare_routes import SpareRoutes

__all__ = ["add_aliases"]


def add_aliases(router: Router, runtime: Runtime) -> Callable[[Scope], bool]:
    """Add ``/health`` and ``/ping`` to an app, unless it has routes of its own there.

    Returns what tells whether a request is for them; like all probes, they need no API key.

    """
    health = Health(runtime)
    routes = (
        Route("/health", health.live, methods=["GET"], name="health"),
        Route("/ping", health.ping, methods=["GET"], name="ping"),
    )
    spare = SpareRoutes(routes, router)
    router.routes += spare.routes
    return spare.has
