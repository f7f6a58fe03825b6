"""What lives from an app's start to its stop, and the order of starting and stopping it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from potassium.config import Jobs, Limits, Webhooks
from potassium.engine import Engine, Lifecycle, LoopWatch, Operation
from potassium.errors import ClientLeft
from potassium.handlers.accelerator import is_fatal
from potassium.handlers.handler import Handler
from potassium.handlers.intake import Intake
from potassium.handlers.thread_defaults import thread_defaults
from potassium.observe import Observation
from potassium.serving.bodies import Bodies
from potassium.serving.disconnects import Disconnects
from potassium.serving.load import LoadMeter
from potassium.serving.loading import Loading
from potassium.serving.startup import Startup
from potassium.webhooks.memory_store import MemoryDeliveries
from potassium.webhooks.outbox import OUTBOX
from potassium.webhooks.service import WebhookService

if TYPE_CHECKING:
    from potassium.jobs.service import JobService
    from potassium.jobs.store import JobStore
    from potassium.jobs.submit import Submissions

__all__ = ["Plan", "Services"]


@dataclass(kw_only=True)
class Plan:
    """The parts of an app, complete when it starts.

    Attributes:
        name: the app's name.
        handlers: the handlers by path.
        init: the operation that loads the model.
        loading_at: returns the line at which that is; None if it does not run.
        bodies: reads the bodies of requests.
        intake: binds requests to the handlers' arguments.
        limits: how much work the server accepts.
        jobs: where background jobs are kept; None if the app has none.
        webhooks: how results are posted to webhooks.
        observation: what is measured.
        debug: whether tracebacks are sent to clients.
        schema: the OpenAPI document; empty until somebody has asked for it.
        startup: what the time of the last start went into.

    """

    name: str
    handlers: Mapping[str, Handler]
    init: Operation
    loading_at: Callable[[], str | None]
    bodies: Bodies
    intake: Intake
    limits: Limits
    jobs: Jobs | None
    webhooks: Webhooks
    observation: Observation
    debug: bool
    schema: dict[str, Any] = field(default_factory=dict)
    startup: Startup = field(default_factory=Startup)


class Services:
    """The engine of a running app, and everything around it.

    Attributes:
        engine: runs the calls.
        disconnects: notices that a call's client has disconnected.
        webhooks: posts results to webhooks.
        jobs: the background jobs; None if the app has none.
        submissions: accepts calls as background jobs; None if the app has none.

    """

    def __init__(self, plan: Plan, lifecycle: Lifecycle) -> None:
        self._plan = plan
        self._lifecycle = lifecycle
        self._store: JobStore | None = None
        self._loop_watch: LoopWatch | None = None
        self.jobs: JobService | None = None
        self.submissions: Submissions | None = None
        self.engine: Engine
        self.disconnects: Disconnects
        self.webhooks: WebhookService

    async def start(self) -> None:
        """Open the store, load the model, and begin to run jobs and deliver webhooks.

        Raises:
            UsageError: the store cannot be opened.
            BaseException: whatever ``init`` raised.

        """
        plan = self._plan
        async with AsyncExitStack() as undo:
            if plan.jobs is not None:
                self._store = await _open(plan.jobs, plan.webhooks, plan.name)
                undo.push_async_callback(self._store.close)
            operations = [handler.operation for handler in plan.handlers.values()]
            plan.observation.begin(operations)
            undo.callback(plan.observation.end)
            self.webhooks = self._new_webhooks()
            undo.push_async_callback(self.webhooks.close)  # init may have posted something
            OUTBOX.set(self.webhooks.outbox)  # the threads and tasks that start from now on have it
            self.engine = Engine(
                operations,
                limits=plan.limits,
                lifecycle=self._lifecycle,
                is_fatal=is_fatal,
                begin_thread=thread_defaults(),
                observer=plan.observation.of_jobs,
            )
            plan.startup.watch(handler.operation for handler in plan.handlers.values())
            with plan.startup.phase("init"), Loading(plan.loading_at):
                await self.engine.start(plan.init)
            # A new error for each job: one raised repeatedly keeps the frames of every raise.
            self.disconnects = Disconnects(lambda job: self.engine.call_off(job, ClientLeft()))
            undo.pop_all()
        if self.engine.lanes:
            self._loop_watch = LoopWatch(asyncio.get_running_loop())
            self._loop_watch.start()
        if self._store is not None and plan.jobs is not None:
            try:
                await self._start_jobs(self._store, plan.jobs)
            except BaseException as error:
                if isinstance(error, Exception):
                    self.engine.fail("its background jobs could not be started")
                await self.stop()
                raise

    @cached_property
    def load(self) -> LoadMeter:
        """Measures how much there is to do, from when somebody first asks."""
        return LoadMeter(self.engine)

    def drain(self) -> None:
        """Stop admitting calls, and begin no more jobs."""
        self.engine.drain()
        if self.jobs is not None:
            self.jobs.drain()

    async def stop(self) -> None:
        """Let admitted calls end, then stop the threads, the jobs, the deliveries and the store."""
        self.drain()
        self.disconnects.close()
        if self._loop_watch is not None:
            self._loop_watch.close()
        async with AsyncExitStack() as rest:
            if self._store is not None:
                rest.push_async_callback(self._store.close)
            rest.callback(self._plan.observation.end)
            rest.push_async_callback(self.webhooks.close)
            rest.callback(self._plan.intake.close)
            rest.callback(self._plan.bodies.close)
            if self.jobs is not None:
                rest.push_async_callback(self.jobs.close)
            await self.engine.stop()

    def _new_webhooks(self) -> WebhookService:
        plan, store = self._plan, self._store
        if store is None or plan.jobs is None or plan.webhooks.store is None:
            deliveries = MemoryDeliveries(plan.webhooks)
            return WebhookService(deliveries, plan.webhooks, is_durable=False)
        return WebhookService(store, plan.webhooks, is_durable=plan.jobs.path is not None)

    async def _start_jobs(self, store: "JobStore", options: Jobs) -> None:
        from potassium.jobs.executor import Executor  # noqa: PLC0415 - only for apps with jobs
        from potassium.jobs.service import JobService  # noqa: PLC0415
        from potassium.jobs.submit import Submissions  # noqa: PLC0415

        plan = self._plan
        executor = Executor(
            self.engine,
            plan.handlers,
            plan.intake,
            max_output=options.max_output,
            debug=plan.debug,
        )
        self.jobs = JobService(store, options, plan.handlers, executor, self.webhooks)
        check: Callable[[str], Awaitable[str]] | None = None
        if plan.webhooks.client_urls:
            check = _url_check(plan.webhooks)
        self.submissions = Submissions(self.jobs, check)
        self.webhooks.wake()  # deliveries that were left over when the app last stopped
        await self.jobs.start()


async def _open(options: Jobs, webhooks: Webhooks, app: str) -> "JobStore":
    store: JobStore
    if options.path is None:
        from potassium.jobs.memory_store import MemoryStore  # noqa: PLC0415 - only for apps with jobs

        store = MemoryStore(options, webhooks=webhooks)
    else:
        from potassium.jobs.sqlite.store import SqliteStore  # noqa: PLC0415

        store = SqliteStore(options.path, options, app=app)
    await store.open()
    return store


def _url_check(options: Webhooks) -> Callable[[str], Awaitable[str]]:
    """Return a check for a client's URL: it returns the URL to post to, or raises."""
    from potassium.webhooks.addresses import PermittedAddresses  # noqa: PLC0415
    from potassium.webhooks.client_urls import checked_url  # noqa: PLC0415 - imports httpx
    from potassium.webhooks.resolver import Resolver  # noqa: PLC0415

    permitted, resolver = PermittedAddresses(options.allow), Resolver(waits=False)
    return lambda url: checked_url(url, permitted, resolver.addresses)
