"""The app: two decorators, a cache, and a server around them."""

import asyncio
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Never, TypeVar, Unpack, overload

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
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
from potassium.engine import Operation
from potassium.errors import PotassiumError, UsageError
from potassium.handlers.handler import Cache, Handler, HandlerOptions, Options, name_of
from potassium.http.problem import explained, problem_reply
from potassium.serving.auth import ApiKeys, check_keys
from potassium.serving.endpoint import Endpoint
from potassium.serving.fast_path import FastPath
from potassium.serving.health import Health
from potassium.serving.request_ids import RequestIds, request_id_of
from potassium.serving.runtime import Runtime
from potassium.serving.services import Plan
from potassium.serving.signals import before_signals
from potassium.serving.startup_errors import StartupErrors
from potassium.webhooks.model import is_http_url

if TYPE_CHECKING:
    from potassium.jobs.service import JobService

__all__ = ["Potassium"]

logger = logging.getLogger("potassium")

Function = TypeVar("Function", bound=Callable[..., Any])


class Potassium(Starlette):
    """An ASGI app that puts a model behind HTTP.

    ``@app.init`` loads the model and ``@app.handler`` runs it; both are plain functions, and
    both run on one thread that nothing else touches the model from. Everything that a Starlette
    app can do, it can: more routes, middleware, mounts, and being mounted.

    Attributes:
        name: what log lines and the status page call it.
        optimized: the modules given to ``optimize``, in order.

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
        """Create an app without handlers.

        Args:
            name: what log lines and the status page call it.
            limits: what it takes on at a time; see ``Limits`` for the defaults.
            jobs: where background jobs are kept; an app that has ``@app.background`` and no
                ``jobs`` keeps them as ``Jobs()`` does.
            webhooks: how results are posted onward; see ``Webhooks`` for the defaults.
            api_keys: any of which a request has to carry, but for health and readiness;
                ``POTASSIUM_API_KEYS``, separated by commas, where not given.
            debug: send tracebacks to clients. For development alone.
            routes: as Starlette takes them; handlers go before them.
            middleware: as Starlette takes it. Use pure ASGI middleware: behind a
                ``BaseHTTPMiddleware`` nothing sees a client leave.
            exception_handlers: as Starlette takes them, for routes that are no handlers.
            unknown: any other option is a mistake, for type checkers too.

        Raises:
            UsageError: an option that cannot be, or that there is not.

        """
        _check_arguments(name, unknown)
        for option, value, kind in (("jobs", jobs, Jobs), ("webhooks", webhooks, Webhooks)):
            if not isinstance(value, kind | None):
                raise UsageError(
                    f"Potassium({option}={value!r}): write {option}={kind.__name__}(...)."
                )
        self.name = name
        self.optimized: list[Any] = []
        self._cache: Cache = {}
        self._init_function: Callable[[], Any] | None = None
        self._limits = limits or Limits()
        self._api_keys = check_keys(default_api_keys() if api_keys is None else api_keys)
        self._handlers: dict[str, Handler] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._unclaimed_webhooks: dict[Callable[..., Any], str] = {}
        init = Operation("init", self._run_init)
        self._plan = Plan(
            handlers=self._handlers,
            init=init,
            limits=self._limits,
            jobs=None,
            webhooks=webhooks or Webhooks(),
            debug=debug,
        )
        self._runtime = Runtime(self._plan)
        super().__init__(
            debug=debug,
            routes=[*Health(name, self._runtime).routes(), *(routes or ())],
            middleware=middleware,
            exception_handlers={
                HTTPException: self._answer_error,
                PotassiumError: self._answer_error,
                Exception: self._answer_error,
                **(exception_handlers or {}),
            },
            lifespan=self.lifespan,
        )
        if jobs is not None:
            self._keep_jobs(jobs)

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
        self._check_open("@app.init")
        if self._init_function is not None:
            raise UsageError("There is an @app.init already; an app has one. Put both into one.")
        if inspect.iscoroutinefunction(function):
            raise UsageError("init runs on the GPU thread: write def, not async def.")
        try:
            inspect.signature(function).bind()
        except TypeError:
            raise UsageError(
                "init takes no arguments: def init() -> dict, returning the cache."
            ) from None
        self._init_function = function
        return function

    @overload
    def handler(self, path: Function, /) -> Function: ...

    @overload
    def handler(
        self, path: str = "/", **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]: ...

    def handler(
        self, path: str | Callable[..., Any] = "/", **options: Unpack[HandlerOptions]
    ) -> Any:
        """Answer ``POST path`` with the decorated function; bare, ``POST /``.

        A plain function runs on the GPU thread, one call at a time. An ``async def`` one runs on
        the event loop and must not touch the GPU. A generator, or a function that returns one,
        streams.

        Args:
            path: ``"/embed"``, or ``"embed"`` for the same.
            options: any of those that follow.
            timeout: seconds for queueing and running together, after which the caller gets 504;
                ``Limits.timeout`` where not given.
            streams: how many streams of this handler may be open at a time; they take turns on
                the GPU thread, a step each.
            batch: call the function with a list of inputs, of several calls, for which it
                returns as many results.
            prepare: called with the input, or with cache and input, in a thread of a pool,
                before the call waits for the GPU thread; what it returns is the handler's input.
                Its annotation, and not the handler's, says what the input is.
            finish: called likewise with what the handler returned, after that; what it returns
                is the result.
            concurrency: for ``async def``: how many calls run at a time; 1 where not given.
            attempts: how often a background job is tried that fails, for clients that send
                ``Prefer: respond-async``; ``Jobs.attempts`` where not given.
            backoff: seconds from its first failure to the next attempt; they double with each.

        Raises:
            UsageError: the path is taken, the options do not suit the function, or it cannot be
                bound; the message shows the right form.

        """
        if callable(path):
            return self.handler()(path)
        if options.get("timeout") is None:
            options["timeout"] = self._limits.timeout
        return self._register("@app.handler", path, options)

    @overload
    def background(self, path: Function, /) -> Function: ...

    @overload
    def background(
        self, path: str = "/", **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]: ...

    def background(
        self, path: str | Callable[..., Any] = "/", **options: Unpack[HandlerOptions]
    ) -> Any:
        """Run the decorated function in the background of each ``POST path``, answered at once.

        The answer is 202 with the job's document, ``Location`` where it is found from then on, and
        the result comes by polling, by its stream of events, or by webhook. The call is stored
        before it is answered, and survives the process.

        Args:
            path: as for ``@app.handler``.
            options: as for ``@app.handler``. ``timeout`` counts from the beginning of each attempt;
                there is none where it is not given.

        Raises:
            UsageError: as for ``@app.handler``.

        """
        if callable(path):
            return self.background()(path)
        return self._register("@app.background", path, options)

    def _register(
        self, decorator: str, path: str, given: HandlerOptions
    ) -> Callable[[Function], Function]:
        """Return what makes a handler of a function, for the decorator of this name."""
        if not isinstance(path, str):
            raise UsageError(f'{decorator}({path!r}): a path is needed, such as "/embed".')
        check_options(decorator, given, Options.__dataclass_fields__)
        options = Options(**given)
        is_background = decorator == "@app.background"

        def decorate(function: Function) -> Function:
            self._check_open(decorator)
            handler = Handler.of(function, path, options, cache=lambda: self._cache)
            handler.is_background = is_background
            if handler.path in self._handlers:
                other = name_of(self._handlers[handler.path].function)
                raise UsageError(
                    f"POST {handler.path} is answered by {other} already; give this one a path "
                    'of its own: @app.handler("/other").'
                )
            handler.webhook_url = self._unclaimed_webhooks.pop(function, None)
            endpoint = Endpoint(handler, self._runtime, self._limits, debug=self.debug)
            self._handlers[handler.path] = handler
            self._endpoints[handler.path] = endpoint
            if is_background and self._plan.jobs is None:
                self._keep_jobs(Jobs())
            self.router.routes.insert(
                len(self._handlers) - 1,
                Route(handler.path, endpoint, methods=["POST"], name=name_of(function)),
            )
            return function

        return decorate

    def result_webhook(self, url: str) -> Callable[[Function], Function]:
        """Post the JSON that a handler returns to ``url`` as well, once its caller is answered.

        It stands above or below ``@app.handler`` or ``@app.background``. A delivery that fails is
        tried again, see ``Webhooks``, and changes nothing for the caller.

        Raises:
            UsageError: the URL is none of http or https.

        """
        if not is_http_url(url):
            raise UsageError(f"@app.result_webhook(url={url!r}): an http or https URL is needed.")

        def decorate(function: Function) -> Function:
            self._check_open("@app.result_webhook")
            mine = [handler for handler in self._handlers.values() if handler.function is function]
            for handler in mine:
                handler.webhook_url = url
            if not mine:
                self._unclaimed_webhooks[function] = url
            return function

        return decorate

    def set_cache(self, cache: dict[str, Any]) -> None:
        """Replace the cache; the next call sees the new one.

        Raises:
            TypeError: it is no dict.

        """
        if not isinstance(cache, dict):
            raise TypeError(f"The cache is a dict, not {type(cache).__name__}.")
        self._cache = cache

    def get_cache(self) -> dict[str, Any]:
        """Return the cache itself, not a copy."""
        return self._cache

    def optimize(self, *models: Any) -> None:
        """Note torch modules as the ones worth optimizing; takes effect outside of serving.

        Args:
            models: ``torch.nn.Module``s, or what holds one as its ``model``, as a transformers
                pipeline does.

        Raises:
            TypeError: one of them is neither; none is noted then.

        """
        self.optimized += [_module_of(model) for model in models]

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Start the app, and stop it at the end: the lifespan of this app or of a parent.

        A parent takes it as its own, ``FastAPI(lifespan=app.lifespan)``, or enters it inside of
        its own, ``async with app.lifespan():``.

        Raises:
            UsageError: the app is running already, or is not complete.
            BaseException: whatever ``init`` raised.

        """
        self._check_complete()
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
            UsageError: there is no handler, or an option cannot be.
            SystemExit: the address is taken, ``init`` raised, the GPU thread failed, or calls
                were not done within the grace period.

        """
        if not self._handlers:
            raise UsageError(
                "There is nothing to serve: decorate a function with @app.handler first."
            )
        self._check_complete()
        if _in_event_loop():
            raise UsageError(
                "app.serve() blocks and runs an event loop of its own. Inside of one, as in a "
                "notebook, write: await uvicorn.Server(uvicorn.Config(app)).serve()"
            )
        from potassium.server import serve  # noqa: PLC0415 - imports uvicorn

        serve(
            self,
            self._runtime,
            self.name,
            (
                default_host() if host is None else host,
                default_port() if port is None else port,
            ),
            options,
        )

    def build_middleware_stack(self) -> ASGIApp:
        """Put the short way to the handlers before Starlette's stack.

        Middleware of the user's sees every request, so with any there is no short way.
        """
        endpoints = {} if self.user_middleware else self._endpoints
        rest = RequestIds(super().build_middleware_stack())
        front = FastPath(endpoints, StartupErrors(rest, self._run_init.__code__))
        return ApiKeys(front, self._api_keys) if self._api_keys else front

    def _keep_jobs(self, jobs: Jobs) -> None:
        from potassium.jobs.routes import JobRoutes  # noqa: PLC0415 - only for apps that have jobs

        async def service() -> "JobService":
            running = await self._runtime.started()
            assert running.jobs is not None  # noqa: S101 - the plan has them
            return running.jobs

        self._plan.jobs = jobs
        self.router.routes += JobRoutes(service).routes()

    def _run_init(self, _: None) -> None:
        if self._init_function is None:
            return
        before = self._cache
        cache = self._init_function()
        if cache is not None:
            self.set_cache(cache)
        elif self._cache is before and not before:
            # It may have loaded globals, so no warning.
            logger.info("init returned nothing and set no cache: handlers get an empty dict")

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        """Answer an error of a route that is no handler in the shape of all others."""
        if isinstance(error, HTTPException):
            known = self._handlers if self.debug else ()
            error = explained(error, request.method, request.scope["path"], known)
        reply = problem_reply(error, request_id_of(request.scope), debug=self.debug)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
        return Response(reply.body, reply.status, headers)

    def _check_open(self, what: str) -> None:
        if self._runtime.was_entered:
            raise UsageError(f"{what} came after the app had started; decorate before that.")

    def _check_complete(self) -> None:
        for handler in self._handlers.values():
            if self._plan.jobs is None and (handler.attempts or handler.backoff):
                raise UsageError(
                    f"POST {handler.path}: attempts= and backoff= are for background jobs; keep "
                    "them with Potassium(jobs=Jobs())."
                )
        for function in self._unclaimed_webhooks:
            raise UsageError(
                f"{name_of(function)} has @app.result_webhook but no @app.handler; add one, or "
                "@app.background."
            )


def _check_arguments(name: object, unknown: Iterable[str]) -> None:
    if not isinstance(name, str):
        raise UsageError(f'Potassium({name!r}): a name is needed, as in Potassium("server").')
    for option in unknown:
        if option in Limits.__dataclass_fields__:
            raise UsageError(f"Potassium({option}=...): write limits=Limits({option}=...).")
    *known, _ = inspect.signature(Potassium).parameters
    check_options("Potassium", unknown, known)


def _module_of(model: Any) -> Any:
    """Return the torch module that ``model`` is or holds, without importing torch."""
    torch = sys.modules.get("torch")
    if torch is not None:
        for candidate in (model, getattr(model, "model", None)):
            if isinstance(candidate, torch.nn.Module):
                return candidate
    raise TypeError(f"app.optimize() takes torch.nn.Modules, not {type(model).__name__}.")


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
