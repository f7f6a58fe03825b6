"""The middleware that every connection passes before it reaches a route or a handler."""

from collections.abc import Callable, Collection, Mapping

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from potassium.http.path import path_below_mount
from potassium.observe import Observation
from potassium.observe.exchanges import Exchanges
from potassium.serving.api_keys import ApiKeys
from potassium.serving.auth import Authentication
from potassium.serving.fast_path import FastPath
from potassium.serving.measured import ServerTiming
from potassium.serving.request_ids import RequestIds
from potassium.serving.runtime import Runtime
from potassium.serving.startup_errors import StartupErrors

__all__ = ["middleware_stack"]

LOOKING = ("GET", "HEAD")
FOR_OPERATORS = ("potassium.serving.health", "potassium.observe.")  # modules


def middleware_stack(  # noqa: PLR0913, PLR0917 - what decides about a request
    app: Starlette,
    build: Callable[[], ASGIApp],
    endpoints: Mapping[str, ASGIApp],
    api_keys: ApiKeys | None,
    observation: Observation,
    runtime: Runtime,
    public: Collection[Callable[[Scope], bool]] = (),
) -> ASGIApp:
    """Return the app as a server calls it: API keys first, then the fast path, then the rest.

    Middleware of the app's own sees all requests, so that there is no fast path then, also those
    without a key: preflights of CORS never have one.

    Args:
        app: its own middleware and routes.
        build: returns Starlette's stack, from ``app.user_middleware`` down to the routes.
        endpoints: the endpoints to call without that stack, by path.
        api_keys: a call must carry one of them; None if anybody may call.
        observation: who is told of each request, whatever comes of it.
        runtime: that of the app.
        public: each returns whether a request needs no key, because it is for what is no secret.

    """

    def is_public(scope: Scope) -> bool:
        return any(one(scope) for one in public)

    own = list(app.user_middleware)
    if own and api_keys is not None:
        app.user_middleware = [*own, Middleware(Authentication, keys=api_keys, is_public=is_public)]
    try:
        stack: ASGIApp = StartupErrors(RequestIds(build()))
    finally:
        app.user_middleware = own
    direct = {} if own else endpoints
    stack = FastPath(direct, stack)
    if not own and api_keys is not None:
        stack, direct = Authentication(stack, api_keys, is_public), {}
    if observation.server_timing:
        stack, direct = ServerTiming(stack, runtime), {}
    if not observation.exchanges:
        return stack
    is_quiet = _quiet(app, is_public)
    return Exchanges(stack, observation.exchanges, endpoints, is_quiet, direct=direct)


def _quiet(app: Starlette, is_public: Callable[[Scope], bool]) -> Callable[[Scope], bool]:
    """Return what tells whether a request is for health, metrics or the page."""
    routes = [route for route in app.routes if isinstance(route, Route)]
    paths = {one.path for one in routes if _owner(one).startswith(FOR_OPERATORS)}

    def is_quiet(scope: Scope) -> bool:
        if path_below_mount(scope) in paths:
            return True
        return scope["method"] in LOOKING and is_public(scope)

    return is_quiet


def _owner(route: Route) -> str:
    """Return the module of the class whose method answers at a route, if it is one's."""
    return type(getattr(route.endpoint, "__self__", None)).__module__
