"""The app: its decorators, its cache, and the way to serve it."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Never, TypeVar, Unpack, overload

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, ExceptionHandler

from potassium.config import (
    Jobs,
    Limits,
    Webhooks,
    check_options,
    default_api_keys,
    default_host,
    default_port,
)
from potassium.errors import UsageError
from potassium.handlers.options import HandlerOptions, documented
from potassium.handlers.torch_modules import module_of
from potassium.serving.assembly import Assembly
from potassium.serving.auth import check_keys
from potassium.serving.error_answers import error_answers
from potassium.serving.health import Health
from potassium.serving.middleware import middleware_stack
from potassium.serving.signals import before_signals
from potassium.webhooks.model import is_http_url

__all__ = ["Potassium"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Potassium(Starlette):
    """An ASGI app that puts a model behind HTTP.

    ``@app.init`` loads the model and ``@app.handler`` runs it. Both are plain functions, and both
    run on one dedicated thread; nothing else touches the model. A ``Potassium`` is a Starlette
    app: it takes more routes, middleware and mounts, and can itself be mounted.

    Args:
        name: what log lines and the status page call it.
        limits: how much it takes on at a time; ``Limits()`` where not given.
        jobs: where background jobs are kept; an app that has ``@app.background`` and no ``jobs``
            keeps them as ``Jobs()`` does.
        webhooks: how results are posted onward; ``Webhooks()`` where not given.
        api_keys: a request must carry one of them, except for health and readiness; taken from
            ``POTASSIUM_API_KEYS``, separated by commas, where not given.
        debug: send tracebacks to clients. For development alone.
        routes: as Starlette takes them; handlers go before them.
        middleware: as Starlette takes it. Use pure ASGI middleware: behind a
            ``BaseHTTPMiddleware`` nothing sees a client leave.
        exception_handlers: as Starlette takes them, for routes that are no handlers.
        unknown: any other option is a mistake, for type checkers too.

    Attributes:
        name: what log lines and the status page call it.
        optimized: the modules given to ``optimize``, in order.

    Raises:
        UsageError: an option is invalid, or does not exist.

    """

    def __init__(  # noqa: PLR0913 - six of ours, three of Starlette's
        self,
        name: str = "potassium",
        *,
        limits: Limits | None = None,
        jobs: Jobs | None = None,
        webhooks: Webhooks | None = None,
        api_keys: Iterable[str] | None = None,
        debug: bool = False,
        routes: Sequence[BaseRoute] | None = None,
        middleware: Sequence[Middleware] | None = None,
        exception_handlers: Mapping[Any, ExceptionHandler] | None = None,
        **unknown: Never,
    ) -> None:
        _check_arguments(name, jobs, webhooks, unknown)
        self.name = name
        self.optimized: list[Any] = []
        self._api_keys = check_keys(default_api_keys() if api_keys is None else api_keys)
        self._parts = Assembly(limits or Limits(), webhooks or Webhooks(), debug=debug)
        self._runtime = self._parts.runtime
        errors = error_answers(self._parts.handlers, debug=debug)
        super().__init__(
            debug=debug,
            routes=[*Health(name, self._runtime).routes(), *(routes or ())],
            middleware=middleware,
            exception_handlers={**errors, **(exception_handlers or {})},
            lifespan=self.lifespan,
        )
        if jobs is not None:
            self._parts.keep_jobs(jobs, self.router.routes)

    @overload
    def init(self, function: Function, /) -> Function: ...

    @overload
    def init(self) -> Callable[[Function], Function]: ...

    def init(self, function: Callable[..., Any] | None = None) -> Any:
        """Run ``function`` once, on the GPU thread, before anything is served.

        It loads the model, and returns a dict that becomes the cache, or calls ``set_cache``.
        Parentheses make no difference: ``@app.init()`` is the same.

        Raises:
            UsageError: there is an init already, or it cannot be called without arguments.

        """
        if function is None:  # @app.init()
            return self.init
        self._parts.load_with(function)
        return function

    @overload
    def handler(self, path: Function, /) -> Function: ...

    @overload
    def handler(
        self, path: str = "/", **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]: ...

    @documented
    def handler(
        self, path: str | Callable[..., Any] = "/", **options: Unpack[HandlerOptions]
    ) -> Any:
        """Answer ``POST path`` with the decorated function; bare, ``POST /``.

        A plain function runs on the GPU thread, one call at a time. An ``async def`` one runs on
        the event loop and must not touch the GPU. A generator, or a function that returns one,
        streams.

        Args:
            path: ``"/embed"``, or ``"embed"`` for the same.
            options: those of ``HandlerOptions``.

        Raises:
            UsageError: the path is taken, the options do not suit the function, or it cannot be
                bound; the message shows the right form.

        """
        if callable(path):
            return self.handler()(path)
        if options.get("timeout") is None:
            options["timeout"] = self._parts.limits.timeout
        return self._parts.decorator("@app.handler", path, options, self.router.routes)

    @overload
    def background(self, path: Function, /) -> Function: ...

    @overload
    def background(
        self, path: str = "/", **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]: ...

    @documented
    def background(
        self, path: str | Callable[..., Any] = "/", **options: Unpack[HandlerOptions]
    ) -> Any:
        """Run the decorated function as a background job for each ``POST path``.

        The call is stored, then answered 202 with the job's document, and it survives the process.
        ``Location`` says where to find the job from then on. The result comes by polling, by the
        job's stream of events, or by webhook.

        Args:
            path: as for ``@app.handler``.
            options: those of ``HandlerOptions``.

        Raises:
            UsageError: as for ``@app.handler``.

        """
        if callable(path):
            return self.background()(path)
        return self._parts.decorator("@app.background", path, options, self.router.routes)

    def result_webhook(self, url: str) -> Callable[[Function], Function]:
        """Post the JSON that a handler returns to ``url`` as well, once its caller is answered.

        It stands above or below ``@app.handler`` or ``@app.background``. A delivery that fails is
        tried again, see ``Webhooks``, and changes nothing for the caller.

        Raises:
            UsageError: the URL is not an http or https URL.

        """
        if not is_http_url(url):
            raise UsageError(f"@app.result_webhook(url={url!r}): write an http or https URL.")

        def decorate(function: Function) -> Function:
            self._parts.post_results(function, url)
            return function

        return decorate

    def set_cache(self, cache: dict[str, Any]) -> None:
        """Replace the cache; the next call sees the new one.

        Raises:
            TypeError: it is not a dict.

        """
        self._parts.cache.replace(cache)

    def get_cache(self) -> dict[str, Any]:
        """Return the cache itself, not a copy."""
        return self._parts.cache.contents

    def optimize(self, *models: Any) -> None:
        """Note torch modules as the ones worth optimizing; takes effect outside of serving.

        Args:
            models: ``torch.nn.Module``s, or what holds one as its ``model``, as a transformers
                pipeline does.

        Raises:
            TypeError: one of them is neither; none is noted then.

        """
        self.optimized += [module_of(model) for model in models]

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Start the app, and stop it at the end: the lifespan of this app or of a parent.

        A parent takes it as its own, ``FastAPI(lifespan=app.lifespan)``, or enters it inside its
        own, ``async with app.lifespan():``.

        Raises:
            UsageError: the app is running already, or is not complete.
            BaseException: whatever ``init`` raised.

        """
        self._parts.check_complete()
        # A parent's signals are the parent's own business.
        hearing = before_signals(self._runtime.drain) if app is self else nullcontext()
        async with self._runtime.run():
            with hearing:
                yield

    def serve(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve the app until Ctrl-C or SIGTERM; blocks.

        Then nothing more is admitted, and what was admitted has ``Limits.grace_period`` to end
        in. A second signal ends the process at once.

        Args:
            host: the address to listen on; ``POTASSIUM_HOST`` or 127.0.0.1 where not given.
            port: the port; ``POTASSIUM_PORT`` or 8000 where not given, any free one where 0.
            options: passed on to ``uvicorn.Config``. Access logs are off unless
                ``access_log=True``.

        Raises:
            UsageError: there is no handler, or an option is invalid.
            SystemExit: the address is taken, ``init`` raised, the GPU thread failed, or calls
                were not done within the grace period.

        """
        if not self._parts.handlers:
            raise UsageError(
                "There is nothing to serve: decorate a function with @app.handler first."
            )
        self._parts.check_complete()
        from potassium.server import serve  # noqa: PLC0415 - imports uvicorn

        address = default_host() if host is None else host, default_port() if port is None else port
        serve(self, self._runtime, self.name, address, options)

    def build_middleware_stack(self) -> ASGIApp:
        """Put the fast path to the handlers before Starlette's stack.

        Middleware of the user's sees every request, so with any there is no fast path.
        """
        return middleware_stack(
            super().build_middleware_stack(),
            {} if self.user_middleware else self._parts.endpoints,
            api_keys=self._api_keys,
        )


def _check_arguments(name: object, jobs: object, webhooks: object, unknown: Iterable[str]) -> None:
    if not isinstance(name, str):
        raise UsageError(f'Potassium({name!r}): write a name, as in Potassium("server").')
    for option in unknown:
        if option in Limits.__dataclass_fields__:
            raise UsageError(f"Potassium({option}=...): write limits=Limits({option}=...).")
    *known, _ = inspect.signature(Potassium).parameters
    check_options("Potassium", unknown, known)
    for given, value, kind in (("jobs", jobs, Jobs), ("webhooks", webhooks, Webhooks)):
        if not isinstance(value, kind | None):
            raise UsageError(f"Potassium({given}={value!r}): write {given}={kind.__name__}(...).")
