"""The app: its decorators, its cache, and how it is served."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Never, TypeVar, Unpack, overload

from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, ExceptionHandler

from potassium.config import Jobs, Limits, LogFormat, Metrics, Traces, Webhooks, Workers, switch
from potassium.errors import UsageError
from potassium.handlers.options import HandlerOptions, documented
from potassium.observe import Observation
from potassium.pages import add_docs
from potassium.serving.aliases import add_aliases
from potassium.serving.api_keys import ApiKeys, keys_of
from potassium.serving.arguments import (
    check_groups,
    check_options_of,
    check_parts,
    check_switches,
    workers_of,
)
from potassium.serving.assembly import Assembly
from potassium.serving.composition import Composable
from potassium.serving.error_answers import error_answers
from potassium.serving.health import Health
from potassium.serving.imported import check_not_imported
from potassium.serving.middleware import middleware_stack
from potassium.serving.slashes import OtherForm
from potassium.webhooks.model import is_http_url

__all__ = ["Potassium"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Potassium(Composable):
    """An ASGI app that serves a model over HTTP.

    ``@app.init`` loads the model and ``@app.handler`` runs it. Both decorate plain functions, and
    both run on one dedicated thread; nothing else touches the model. A ``Potassium`` is a
    Starlette app: it takes more routes, middleware and mounts, and can itself be mounted.

    Args:
        name: the app's name in log lines and on the status page.
        limits: how much work the app accepts at a time; defaults to ``Limits()``.
        jobs: where background jobs are kept; with ``@app.background``, defaults to ``Jobs()``.
        webhooks: how results are posted to webhooks; defaults to ``Webhooks()``.
        workers: the processes that hold a model each, as ``Workers(...)`` or its ``devices``;
            defaults to ``POTASSIUM_WORKERS``, then to a thread of this process.
        api_keys: ``ApiKeys(...)``, or its keys: a request must carry one, except for health,
            readiness and warm-up; defaults to ``POTASSIUM_API_KEYS``, separated by commas.
        docs: whether there are a page to try the handlers on, at ``/docs``, and the schema, at
            ``/openapi.json``; defaults to ``POTASSIUM_DOCS``, then True.
        metrics: whether there are figures for Prometheus, at ``/metrics``, or ``Metrics(...)``;
            defaults to ``POTASSIUM_METRICS``, then False.
        traces: whether calls are traced with OpenTelemetry, or ``Traces(...)``; defaults to
            ``POTASSIUM_TRACES``, then False.
        server_timing: whether every response has a ``Server-Timing`` header; otherwise, clients ask
            for it with ``X-Timing: 1``.
        debug: send tracebacks to clients. For development only.
        routes: as for Starlette; handlers come before them.
        middleware: as for Starlette. Use pure ASGI middleware: behind a ``BaseHTTPMiddleware``,
            the app does not notice that a client disconnects.
        exception_handlers: as for Starlette, for routes that are not handlers.
        unknown: any other option is an error, for type checkers too.

    Attributes:
        name: the app's name in log lines and on the status page.
        optimized: the modules given to ``optimize``, in order.

    Raises:
        UsageError: an option is invalid or does not exist.

    """

    def __init__(  # noqa: PLR0913 - ten of ours, three of Starlette's
        self,
        name: str = "potassium",
        *,
        limits: Limits | None = None,
        jobs: Jobs | None = None,
        webhooks: Webhooks | None = None,
        workers: Workers | int | str | Sequence[str] | None = None,
        api_keys: ApiKeys | Mapping[str, str | Sequence[str]] | Iterable[str] | None = None,
        docs: bool | None = None,
        metrics: Metrics | bool | None = None,
        traces: Traces | bool | None = None,
        server_timing: bool = False,
        debug: bool = False,
        routes: Sequence[BaseRoute] | None = None,
        middleware: Sequence[Middleware] | None = None,
        exception_handlers: Mapping[Any, ExceptionHandler] | None = None,
        **unknown: Never,
    ) -> None:
        check_options_of(Potassium, name, unknown)
        check_groups(limits=limits, jobs=jobs, webhooks=webhooks)
        check_switches(
            docs=docs, metrics=metrics, traces=traces, server_timing=server_timing, debug=debug
        )
        check_parts(routes, middleware, exception_handlers)
        self.name = name
        self._api_keys = keys_of(api_keys)
        self._has_docs = switch("POTASSIUM_DOCS", default=True) if docs is None else docs
        observed = Observation(metrics, traces, server_timing=server_timing)
        held = workers_of(workers, unknown)
        self._parts = Assembly(
            name, limits, webhooks, self.set_cache, observed, workers=held, debug=debug
        )
        runtime = self._runtime = self._parts.runtime
        super().__init__(
            debug=debug,
            routes=[*Health(runtime).routes(), *observed.routes(runtime), *(routes or ())],
            middleware=middleware,
            exception_handlers=error_answers(self._parts.handlers) | dict(exception_handlers or {}),
            lifespan=self.lifespan,
        )
        OtherForm(self.router)
        self._parts.plan.app = self
        self._parts.keep_jobs(jobs, self)

    @overload
    def init(self, function: Function, /) -> Function: ...

    @overload
    def init(self) -> Callable[[Function], Function]: ...

    def init(self, function: Callable[..., Any] | None = None) -> Any:
        """Run ``function`` once, on the GPU thread, to load the model before anything is served.

        It returns the cache, a dict, or calls ``set_cache``. If it has a parameter, that gets the
        device to load onto, such as ``"cuda:0"`` or ``"cpu"``. ``@app.init()`` works too.

        Raises:
            UsageError: there is an init already, or ``function`` is async or has other parameters.

        """
        if function is None:  # @app.init()
            return self.init
        self._parts.load_with(function)
        return function

    def restored(self, function: Function) -> Function:
        """Complete the cache with the decorated function, on the GPU thread, at every start.

        It gets the cache once ``init`` has run, or once a snapshot was restored in its place, and
        may return a dict of more for it: what cannot be kept in a snapshot, such as a lock.

        Raises:
            UsageError: there is one already, or ``function`` is async or does not take the cache
                alone.

        """
        self._parts.complete_with(function)
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
        """Answer ``POST path`` with the decorated function; bare ``@app.handler`` means ``POST /``.

        A plain function runs on the GPU thread, one call at a time. An ``async def`` function runs
        on the event loop and must not touch the GPU. A generator function, or a function that
        returns a generator, streams.

        Args:
            path: the path, such as ``"/embed"``; ``"embed"`` and ``"/embed/"`` mean the same, and
                clients may use a slash at the end too.
            options: those of ``HandlerOptions``.

        Raises:
            UsageError: the path is taken, an option does not suit the function, or its signature
                is not that of a handler; the message shows the right form.

        """
        if callable(path):
            return self.handler()(path)
        if options.get("timeout") is None:
            options["timeout"] = self._parts.limits.timeout
        return self._parts.decorator("@app.handler", path, options, self)

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

        The call is stored, so that it survives the process, and answered 202 with the job document
        and ``Location``. Get the result by polling that, from the job's event stream or by webhook.

        Args:
            path: as for ``@app.handler``.
            options: those of ``HandlerOptions``.

        Raises:
            UsageError: as for ``@app.handler``.

        """
        if callable(path):
            return self.background()(path)
        return self._parts.decorator("@app.background", path, options, self)

    def result_webhook(self, url: str) -> Callable[[Function], Function]:
        """Post the JSON that a handler returns to ``url`` too, once its caller has the response.

        Use it above or below ``@app.handler`` or ``@app.background``. A failed delivery is retried
        and does not affect the caller; see ``Webhooks``.

        Raises:
            UsageError: the URL is not an http or https URL.

        """
        if not is_http_url(url):
            raise UsageError(f"@app.result_webhook(url={url!r}): write an http or https URL.")

        def decorate(function: Function) -> Function:
            self._parts.post_results(function, url)
            return function

        return decorate

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document of the app, as ``GET /openapi.json`` shows it.

        It is made when it is first asked for, and is yours to change before it is served:
        ``app.openapi()["info"]["version"] = "2.1"``.
        """
        document = self._parts.plan.schema
        if not document:
            from potassium.schema.document import openapi_document  # noqa: PLC0415 - on demand

            document |= openapi_document(self.name, self._parts.plan, self._api_keys)
        return document

    def serve(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        log: LogFormat | None = None,
        access_log: bool | Literal["all"] | None = None,
        **options: Any,
    ) -> None:
        """Serve the app until Ctrl-C or SIGTERM; blocks.

        Admitted calls then have ``Limits.grace_period`` to finish; a second signal ends it now.

        Args:
            host: the address to listen on; defaults to ``POTASSIUM_HOST``, then 127.0.0.1.
            port: the port; defaults to ``POTASSIUM_PORT``, ``AIP_HTTP_PORT`` or ``PORT``, then to
                8000; 0 for any free port.
            log: ``"json"`` or ``"text"`` for all lines; defaults to ``POTASSIUM_LOG``, then plain.
            access_log: a line for each call; ``"all"`` for health checks too; on if ``log`` is set.
            options: passed to ``uvicorn.Config``.

        Raises:
            UsageError: there is no handler, or an option is invalid.
            SystemExit: the server did not start, has failed, or calls were left unfinished.

        """
        check_not_imported()
        self._parts.check_served()
        from potassium.server import serve  # noqa: PLC0415 - imports uvicorn

        how = self._parts.observation.log(log, access=access_log)
        serve(self, self._runtime, self._parts.limits, self.name, host, port, options, how)

    def build_middleware_stack(self) -> ASGIApp:
        """Put a fast path before Starlette's stack unless user middleware must see all requests."""
        observation = self._parts.observation
        endpoints: dict[str, ASGIApp] = {**self._parts.endpoints, **self._parts.fronts}
        public = [add_docs(self.router, self.openapi)] if self._has_docs else []
        public += [observation.is_public, add_aliases(self.router, self._runtime)]
        build = super().build_middleware_stack
        return middleware_stack(
            self, build, endpoints, self._api_keys, observation, self._runtime, public
        )
