"""What lives from an app's start to its stop, and the order of starting and stopping it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from potassium.config import Jobs, Webhooks
from potassium.engine import (
    Engine,
    Failure,
    Lifecycle,
    LoopWatch,
    WorkerReport,
)
from potassium.errors import ClientLeft
from potassium.handlers.thread_defaults import thread_defaults
from potassium.serving.disconnects import Disconnects
from potassium.serving.load import LoadMeter
from potassium.serving.loading import Loading
from potassium.serving.model_runner import new_runner
from potassium.serving.own_loggers import enable_own_loggers
from potassium.serving.plan import Plan
from potassium.serving.processes import tell_processes
from potassium.serving.warm_ups import WarmUps, has_warm_up
from potassium.webhooks.memory_store import MemoryDeliveries
from potassium.webhooks.outbox import OUTBOX
from potassium.webhooks.service import WebhookService

if TYPE_CHECKING:
    from potassium.jobs.service import JobService
    from potassium.jobs.store import JobStore
    from potassium.jobs.submit import Submissions
    from potassium.webhooks.model import DeliveryStore

__all__ = ["Services"]


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
                new_runner=new_runner(plan, self.webhooks.outbox.post),
                begin_thread=thread_defaults(),
                observer=plan.observation.of_jobs,
            )
            warm = [path for path, one in plan.handlers.items() if has_warm_up(one)]
            plan.startup.watch(operations, warm)
            await self._load()
            # A new error for each job: one raised repeatedly keeps the frames of every raise.
            self.disconnects = Disconnects(lambda job: self.engine.call_off(job, ClientLeft()))
            undo.pop_all()
        try:
            await self._begin()
        except BaseException as error:
            if isinstance(error, Exception):
                self.engine.fail(f"it could not be started: {error}")
            await self.stop()
            raise

    async def _load(self) -> None:
        """Load the model, and run what is to be run before anything is served."""
        plan, startup = self._plan, self._plan.startup
        handlers = [] if plan.is_warm else plan.handlers.values()
        WarmUps(handlers).check()
        here = [one for one in handlers if plan.workers is None or one.operation.concurrency]
        warm_ups = WarmUps(here)

        async def warm_up() -> Failure | None:
            of_init.close()
            startup.note_workers(self.workers())
            if not warm_ups:
                return None
            with startup.phase("warmup"):
                return await warm_ups.run(self.engine.rehearse)

        place = plan.loading_at if plan.workers is None else None
        with Loading(place, warming=lambda: warm_ups.current), ExitStack() as of_init:
            of_init.enter_context(startup.phase("init"))
            await self.engine.start(plan.init, warm_up)
        startup.warmed |= warm_ups.seconds

    async def _begin(self) -> None:
        """Do what is left to do once the engine admits calls."""
        plan = self._plan
        self._loop_watch = LoopWatch(asyncio.get_running_loop())
        self._loop_watch.start()
        if self._store is not None and plan.jobs is not None:
            await self._start_jobs(self._store, plan.jobs)
        enable_own_loggers()  # init may have set up logging
        plan.startup.ready()
        plan.observation.ready()
        tell_processes(shows_metrics=plan.observation.shows_metrics)

    @cached_property
    def load(self) -> LoadMeter:
        """Measures how much there is to do, from when somebody first asks."""
        return LoadMeter(self.engine)

    def workers(self) -> Sequence[WorkerReport]:
        """Return what there is to say of each worker process, also while they load."""
        return self.engine.runner.report() if hasattr(self, "engine") else ()

    def drain(self, *, calls: bool = True) -> None:
        """Begin no more jobs and, with ``calls``, stop admitting calls."""
        if calls:
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
        plan, observation = self._plan, self._plan.observation
        store: DeliveryStore | None = self._store
        is_durable = self._store is not None and self._store.is_durable
        if store is None or plan.webhooks.store is None:
            store, is_durable = MemoryDeliveries(plan.webhooks), False
        return WebhookService(
            store,
            plan.webhooks,
            is_durable=is_durable,
            trace=observation.trace_headers,
            of_posting=observation.of_posting,
        )

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
            workers=self.engine.runner.workers_limit,
        )
        self.jobs = JobService(
            store,
            options,
            plan.handlers,
            plan.observation.of_work(executor),
            self.webhooks,
            observer=plan.observation.of_attempts,
        )
        check: Callable[[str], Awaitable[str]] | None = None
        if plan.webhooks.client_urls:
            check = _url_check(plan.webhooks)
        self.submissions = Submissions(self.jobs, check)
        self.webhooks.wake()  # deliveries that were left over when the app last stopped
        await self.jobs.start()


async def _open(options: Jobs, webhooks: Webhooks, app: str) -> "JobStore":
    from potassium.jobs.stores import new_store  # noqa: PLC0415 - only for apps with jobs

    store = new_store(options, webhooks, app)
    await store.open()
    return store


def _url_check(options: Webhooks) -> Callable[[str], Awaitable[str]]:
    """Return a check for a client's URL: it returns the URL to post to, or raises."""
    from potassium.webhooks.addresses import PermittedAddresses  # noqa: PLC0415
    from potassium.webhooks.client_urls import checked_url  # noqa: PLC0415 - imports httpx
    from potassium.webhooks.resolver import Resolver  # noqa: PLC0415

    permitted, resolver = PermittedAddresses(options.allow), Resolver(waits=False)
    return lambda url: checked_url(url, permitted, resolver.addresses)
