"""Assembles an app, decorator by decorator, until it starts."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from potassium.config import Jobs, Limits, Webhooks, Workers
from potassium.engine import Operation
from potassium.errors import UsageError
from potassium.handlers.cache import Cache
from potassium.handlers.functions import name_of
from potassium.handlers.init import Init
from potassium.handlers.intake import Intake
from potassium.handlers.options import HandlerOptions, check_each, take_path
from potassium.handlers.registry import Registry
from potassium.observe import Observation
from potassium.serving.bodies import Bodies
from potassium.serving.endpoint import Endpoint
from potassium.serving.plan import Plan
from potassium.serving.runtime import Runtime
from potassium.serving.slashes import HandlerRoute
from potassium.serving.snapshot import SnapshotBeside

if TYPE_CHECKING:
    from potassium.jobs.service import JobService
    from potassium.serving.calls import Calls

__all__ = ["Assembly"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Assembly:
    """Turns functions into handlers, and handlers into endpoints and routes.

    Attributes:
        cache: holds what ``init`` loads.
        init: loads it.
        runtime: starts and stops what serves the handlers.
        handlers: the handlers by path, in the order of registration.
        endpoints: the endpoint of each handler that answers POST, by path.
        fronts: what answers POST in front of handlers, by path, see ``add_front``.
        limits: how much work the server accepts.

    """

    def __init__(  # noqa: PLR0913 - what an app is created with
        self,
        name: str,
        limits: Limits | None,
        webhooks: Webhooks | None,
        set_cache: Callable[[dict[str, Any]], object],
        observation: Observation,
        *,
        workers: Workers | None,
        debug: bool,
    ) -> None:
        """Begin the app ``name`` without handlers; ``set_cache`` gets what ``init`` returns."""
        self.limits = limits = limits or Limits()
        self.cache = Cache()
        self._registry = Registry(self.cache)
        self.handlers = self._registry.handlers
        self.init = Init(
            self.cache, set_cache, self.handlers, SnapshotBeside(lambda: self._plan.app)
        )
        self._plan = Plan(
            name=name,
            handlers=self.handlers,
            cache=self.cache,
            init=Operation("init", self.init.run),
            loading_at=self.init.place,
            bodies=Bodies(limits),
            intake=Intake(),
            limits=limits,
            jobs=None,
            webhooks=webhooks or Webhooks(),
            observation=observation,
            calls=lambda: self.calls,
            debug=debug,
            workers=workers,
        )
        self.runtime = Runtime(self._plan, self.check_complete)
        self.endpoints: dict[str, Endpoint] = {}
        self.fronts: dict[str, ASGIApp] = {}
        self._closed_by: str | None = None

    @cached_property
    def calls(self) -> "Calls":
        """Makes calls from the app's own process."""
        from potassium.serving.calls import Calls  # noqa: PLC0415 - only for apps that make some

        return Calls(self._plan, self.runtime)

    @property
    def plan(self) -> Plan:
        """The parts of the app, complete once it has started."""
        return self._plan

    @property
    def observation(self) -> Observation:
        """What is measured."""
        return self._plan.observation

    def load_with(self, function: Callable[..., Any]) -> None:
        """Register ``function`` to load the model when the app starts.

        Raises:
            UsageError: there is an init already, ``function`` is async or requires another argument
                than its device, or the app has started.

        """
        self._check_open("@app.init")
        self.init.register(function)

    def complete_with(self, function: Callable[..., Any]) -> None:
        """Register ``function`` to complete the cache, whether it was loaded or restored.

        Raises:
            UsageError: there is one already, ``function`` is async or does not take the cache
                alone, or the app has started.

        """
        self._check_open("@app.restored")
        self.init.register_restored(function)

    def decorator(
        self, name: str, path: str, options: HandlerOptions, app: Starlette
    ) -> Callable[[Function], Function]:
        """Return a decorator that makes a function a handler; ``name`` is its public name.

        The handler's route is inserted into those of ``app``, before all that are not handlers'.

        Raises:
            UsageError: the path or an option is invalid.

        """
        check_each(name, options)
        path = take_path(name, path, options)
        is_background = name == "@app.background"

        def decorate(function: Function) -> Function:
            self._check_open(name)
            if self._closed_by is not None:
                raise UsageError(f"{name} came after {self._closed_by}; decorate handlers before.")
            handler = self._registry.add(function, path, options, is_background=is_background)
            self._plan.schema.clear()
            endpoint = Endpoint(handler.path, self._plan, self.runtime, debug=app.debug)
            if "POST" in handler.methods:
                self.endpoints[handler.path] = endpoint
            if is_background and self._plan.jobs is None:
                self.keep_jobs(Jobs(), app)
            route = HandlerRoute(handler.path, endpoint, name_of(function), handler.methods)
            app.router.routes.insert(len(self.handlers) - 1, route)
            return function

        return decorate

    def add_front(self, path: str, front: ASGIApp, app: Starlette) -> None:
        """Let ``front`` answer POST at ``path``, which passes requests on to endpoints.

        Raises:
            UsageError: the app has started.

        """
        self._check_open(path)
        self.fronts[path] = front
        app.router.routes.append(Route(path, front, methods=["POST"]))

    def post_results(self, function: Callable[..., Any], url: str) -> None:
        """Post to ``url`` what ``function`` returns.

        Raises:
            UsageError: the app has started.

        """
        self._check_open("@app.result_webhook")
        self._registry.post_results(function, url)

    def keep_jobs(self, jobs: Jobs | None, app: Starlette) -> None:
        """Keep background jobs as ``jobs`` says; their routes go behind all others of ``app``.

        Raises:
            UsageError: what ``Jobs(store=...)`` has been given is no store.

        """
        if jobs is None:
            return
        if jobs.store is not None:
            from potassium.jobs.conformance import check_store  # noqa: PLC0415 - as below

            check_store(jobs.store)
        from potassium.jobs.routes import JobRoutes  # noqa: PLC0415 - only for apps that have jobs

        async def service() -> "JobService":
            services = await self.runtime.started()
            assert services.jobs is not None  # noqa: S101 - the plan has them
            return services.jobs

        self._plan.jobs = jobs
        app.router.routes += JobRoutes(service).routes()

    def check_complete(self) -> None:
        """Check what can only be checked once all decorators have run.

        Raises:
            UsageError: something is missing.

        """
        self._registry.check(has_jobs=self._plan.jobs is not None)

    def check_served(self) -> None:
        """Check what a server of the app's own needs, beyond ``check_complete``.

        Raises:
            UsageError: there is no handler, or something is missing.

        """
        if not self.handlers:
            raise UsageError(
                "There is nothing to serve: decorate a function with @app.handler first."
            )
        self.check_complete()

    def try_out(self) -> None:
        """Run in this process, keep no jobs and post no results: whoever calls is no client."""
        self._plan.jobs = None
        self._plan.workers = None
        self._registry.post_nothing()

    def close(self, name: str) -> None:
        """Accept no more handlers, now that ``name`` has made something of those that there are."""
        self._closed_by = name

    def _check_open(self, what: str) -> None:
        if self.runtime.was_entered:
            raise UsageError(
                f"{what} came after the app had started; decorate functions before it starts."
            )
