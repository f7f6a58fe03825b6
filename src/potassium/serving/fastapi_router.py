"""The routes of an app as a router of FastAPI, behind the dependencies of a parent app."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from potassium.errors import UsageError
from potassium.handlers.handler import RESERVED_PATHS
from potassium.http.request_id import request_id_of
from potassium.serving.assembly import Assembly
from potassium.serving.auth import PROBES
from potassium.serving.fastapi_docs import Document, operation_of
from potassium.serving.runtime import Runtime
from potassium.serving.slashes import HandlerRoute

if TYPE_CHECKING:
    from fastapi import APIRouter

__all__ = ["as_mounted", "router_of"]


EVERY = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")  # of a class of Starlette's

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


def router_of(
    app: Starlette,
    parts: Assembly,
    dependencies: Sequence[Any],
    lifespan: Lifespan,
    document: Document,
) -> "APIRouter":
    """Return a router with a route for each of ``app``, which answers once FastAPI lets it.

    Args:
        app: answers the requests, as if it were mounted at the router's prefix.
        parts: what ``app`` is assembled of.
        dependencies: run before every route but those of health, readiness and warm-up.
        document: the OpenAPI document of ``app``.
        lifespan: that of ``app``, which the parent's lifespan enters unless the app runs already.

    Raises:
        UsageError: FastAPI is not installed.

    """
    try:
        from fastapi import APIRouter  # noqa: PLC0415 - only for apps in a FastAPI app
    except ImportError as error:
        raise UsageError("app.router_for_fastapi() needs FastAPI: pip install fastapi") from error
    router = APIRouter(lifespan=_unless_running(parts.runtime, lifespan))
    dependencies = list(dependencies)  # an iterator would protect the first route only
    for route in app.router.routes:
        if not isinstance(route, Route) or ":path}" in route.path:
            continue
        handler = parts.handlers.get(route.path) if isinstance(route, HandlerRoute) else None
        is_background = handler is not None and handler.is_background
        for method in sorted(route.methods or EVERY):
            is_probe = method in PROBES.get(route.path, ())
            for path in _forms(route):
                router.add_api_route(
                    path,
                    _door(app, path.count("/")),
                    methods=[method],
                    name=route.name.rpartition(".")[2],  # of a qualified name
                    dependencies=[] if is_probe else dependencies,
                    status_code=202 if is_background else None,
                    response_class=Response,
                    response_model=None,
                    include_in_schema=path == route.path and _is_shown(route, method),
                    openapi_extra=operation_of(route, method, document),
                )
    return router


def _forms(route: Route) -> list[str]:
    """Return the paths at which a route answers."""
    if isinstance(route, HandlerRoute) and route.path != "/":
        return [route.path, f"{route.path}/"]
    return [route.path]


def _is_shown(route: Route, method: str) -> bool:
    if not route.methods and not hasattr(route.endpoint, method.lower()):
        return False  # the class has no such method
    return route.include_in_schema and route.path not in RESERVED_PATHS and method != "HEAD"


def _unless_running(runtime: Runtime, lifespan: Lifespan) -> Callable[[object], Any]:
    """Return a lifespan that does nothing if the app runs already.

    The parent may have entered it as its own, or include the router twice.
    """

    @asynccontextmanager
    async def merged(_: object) -> AsyncIterator[None]:
        if runtime.is_entered:
            yield
            return
        async with lifespan():
            yield

    return merged


def _door(app: Starlette, segments: int) -> Callable[..., Any]:
    """Return a route's function, which FastAPI calls once all dependencies have let it."""

    async def door(request: Request, response: Response) -> Response:
        return _Answer(app, request, segments, response.raw_headers)

    return door


class _Answer(Response):
    """The app's own answer, which it sends itself: streams, and bodies unread until then.

    Args:
        segments: how many segments of the path belong to the app.
        extra: headers that dependencies have set.

    """

    def __init__(
        self,
        app: Starlette,
        request: Request,
        segments: int,
        extra: list[tuple[bytes, bytes]],
    ) -> None:
        super().__init__()
        self._app = app
        self._request = request
        self._segments = segments
        self._extra = extra

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._extra]}
            await send(message)

        request_id_of(scope)  # the parent and the app know it by the same id
        await self._app(
            as_mounted(scope, self._segments),
            _unread(self._request, receive),
            send_with_headers if self._extra else send,
        )
        if self.background is not None:
            await self.background()


def as_mounted(scope: Scope, segments: int) -> Scope:
    """Return the scope that an app gets that is mounted above the last segments of the path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and not path.startswith(f"{root}/"):  # that of a proxy which has removed it
        path = root + path
    return {**scope, "path": path, "root_path": path.rsplit("/", segments)[0]}


def _unread(request: Request, receive: Receive) -> Receive:
    """Return a ``receive`` that begins with the body, also if a dependency has read it.

    Raises:
        UsageError: the body is gone.

    """
    body: bytes | None = getattr(request, "_body", None)
    if body is None:
        if request._stream_consumed:  # noqa: SLF001 - Starlette does not say it otherwise
            raise UsageError(
                "A dependency has consumed the body of this request, as a form or as a stream; "
                "read it with await request.body(), which keeps it."
            )
        return receive
    is_sent = False

    async def again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
