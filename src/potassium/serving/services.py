"""What lives from the start of an app to its stop, and in which order it comes and goes."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from potassium.config import Jobs, Limits, Webhooks
from potassium.engine import Engine, Lifecycle, Operation
from potassium.errors import ClientLeft
from potassium.handlers.accelerator import is_fatal
from potassium.handlers.handler import Handler
from potassium.serving.disconnects import Disconnects
from potassium.webhooks.memory_store import MemoryDeliveries
from potassium.webhooks.outbox import OUTBOX, Outbox

if TYPE_CHECKING:
    from potassium.jobs.service import JobService
    from potassium.jobs.store import JobStore
    from potassium.jobs.submit import Submissions
    from potassium.webhooks.deliverer import Deliverer
    from potassium.webhooks.model import DeliveryStore

__all__ = ["Plan", "Services"]

LAST_DELIVERIES = 10.0  # seconds that deliveries under way have to end in, when all else has


@dataclass(kw_only=True)
class Plan:
    """What an app is made of, by the time of its start.

    Attributes:
        handlers: by path.
        init: what loads the model.
        limits: what the server takes on.
        jobs: where background jobs are kept; None where there are none.
        webhooks: how results are posted onward.
        debug: whether clients are sent tracebacks.

    """

    handlers: Mapping[str, Handler]
    init: Operation
    limits: Limits
    jobs: Jobs | None
    webhooks: Webhooks
    debug: bool


class Services:
    """An app that runs: its engine, and everything around it.

    Attributes:
        engine: runs the calls.
        departures: watches who is still waiting for them.
        outbox: takes what is to be posted onward.
        jobs: the background jobs; None where the app has none.
        intake: takes calls in as background jobs; likewise.

    """

    def __init__(self, plan: Plan, lifecycle: Lifecycle) -> None:
        """Prepare; ``start`` has yet to be called."""
        self._plan = plan
        self._lifecycle = lifecycle
        self._deliverer: Deliverer | None = None
        self._store: JobStore | None = None
        self.jobs: JobService | None = None
        self.intake: Submissions | None = None
        self.engine: Engine
        self.departures: Disconnects
        self.outbox: Outbox

    async def start(self) -> None:
        """Open the store, load the model, and begin to run jobs and to deliver.

        Raises:
            UsageError: the store cannot be opened.
            BaseException: whatever ``init`` raised.

        """
        plan = self._plan
        async with AsyncExitStack() as undo:
            if plan.jobs is not None:
                self._store = await _open(plan.jobs)
                undo.push_async_callback(self._store.close)
            in_store = self._store is not None and plan.webhooks.store is not None
            self._deliveries: DeliveryStore = (
                self._store if self._store and in_store else MemoryDeliveries()
            )
            self._is_durable = in_store and plan.jobs is not None and plan.jobs.path is not None
            self.outbox = Outbox(self._deliveries, self._deliver)
            undo.push_async_callback(self._close_deliveries)  # init may have posted something
            OUTBOX.set(self.outbox)  # the threads and tasks that begin now have it
            self.engine = Engine(
                [handler.operation for handler in plan.handlers.values()],
                limits=plan.limits,
                lifecycle=self._lifecycle,
                is_fatal=is_fatal,
            )
            await self.engine.start(plan.init)
            # An error for each: one raised again and again keeps the frames of all its raises.
            self.departures = Disconnects(lambda job: self.engine.call_off(job, ClientLeft()))
            undo.pop_all()
        if self._store is not None and plan.jobs is not None:
            try:
                await self._start_jobs(self._store, plan.jobs)
            except BaseException:
                await self.stop()
                raise

    def drain(self) -> None:
        """Admit nothing any more, and begin no job."""
        self.engine.drain()
        if self.jobs is not None:
            self.jobs.drain()

    async def stop(self) -> None:
        """Let what was admitted end, then stop the threads, the deliveries and the store."""
        self.drain()
        self.departures.close()
        async with AsyncExitStack() as rest:
            if self._store is not None:
                rest.push_async_callback(self._store.close)
            rest.push_async_callback(self._close_deliveries)
            if self.jobs is not None:
                rest.push_async_callback(self.jobs.close)
            await self.engine.stop()

    async def _start_jobs(self, store: "JobStore", options: Jobs) -> None:
        from potassium.jobs.executor import Executor  # noqa: PLC0415 - only for apps that have jobs
        from potassium.jobs.service import JobService  # noqa: PLC0415
        from potassium.jobs.submit import Submissions  # noqa: PLC0415

        plan = self._plan
        work = Executor(self.engine, plan.handlers, debug=plan.debug)
        self.jobs = JobService(store, options, plan.handlers, work, delivered=self._deliver)
        check: Callable[[str], Awaitable[str]] | None = None
        if plan.webhooks.client_urls:
            check = _url_check(plan.webhooks)
        self.intake = Submissions(self.jobs, check)
        self._deliver()  # what was left of the last time
        await self.jobs.start()

    def _deliver(self) -> None:
        """Look for what is to be delivered; the first time, begin to."""
        if self._deliverer is None:
            from potassium.webhooks.deliverer import Deliverer  # noqa: PLC0415 - imports httpx

            self._deliverer = Deliverer(
                self._deliveries, self._plan.webhooks, is_durable=self._is_durable
            )
            self._deliverer.start()
        self._deliverer.wake()

    async def _close_deliveries(self) -> None:
        await self.outbox.close()
        if self._deliverer is not None:
            await self._deliverer.close(LAST_DELIVERIES)


async def _open(options: Jobs) -> "JobStore":
    store: JobStore
    if options.path is None:
        from potassium.jobs.memory_store import MemoryStore  # noqa: PLC0415 - only for apps with jobs

        store = MemoryStore()
    else:
        from potassium.jobs.sqlite.store import SqliteStore  # noqa: PLC0415

        store = SqliteStore(options.path)
    await store.open()
    return store


def _url_check(options: Webhooks) -> Callable[[str], Awaitable[str]]:
    """Return what checks clients' URLs: it returns what may be posted to, or raises."""
    from potassium.webhooks.addresses import PermittedAddresses  # noqa: PLC0415
    from potassium.webhooks.client_urls import checked_url  # noqa: PLC0415 - imports httpx
    from potassium.webhooks.resolver import Resolver  # noqa: PLC0415

    permitted, names = PermittedAddresses(options.allow), Resolver()
    return lambda url: checked_url(url, permitted, names.addresses)
