"""The middleware that every connection passes before it reaches a route or a handler."""

from collections.abc import Mapping

from starlette.types import ASGIApp

from potassium.serving.api_keys import ApiKeys
from potassium.serving.auth import Authentication
from potassium.serving.fast_path import FastPath
from potassium.serving.request_ids import RequestIds
from potassium.serving.startup_errors import StartupErrors

__all__ = ["middleware_stack"]


def middleware_stack(
    rest: ASGIApp, endpoints: Mapping[str, ASGIApp], *, api_keys: ApiKeys | None
) -> ASGIApp:
    """Return the app as a server calls it: API keys first, then the fast path, then the rest.

    Args:
        rest: Starlette's own stack, down to the routes.
        endpoints: the endpoints to call without that stack, by path.
        api_keys: a call must carry one of them; None if anybody may call.

    """
    app: ASGIApp = FastPath(endpoints, StartupErrors(RequestIds(rest)))
    return app if api_keys is None else Authentication(app, api_keys)
