"""Starts and stops the services: for a lifespan, or for the first request without one."""

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from potassium.engine import Lifecycle, Operation, State
from potassium.errors import Draining, Starting, UsageError, WorkerFailed
from potassium.serving.line_limit import OURS, LineLimit
from potassium.serving.services import Plan, Services
from potassium.serving.startup_errors import trace_below

__all__ = ["Runtime"]

STOP_TIME = 15.0  # seconds beyond the grace period that a stop may take, webhooks included

logger = logging.getLogger("potassium")


class Runtime:
    """Starts and stops what serves the handlers that ``plan`` holds at the time of the start.

    Belongs to the event loop that started it. Can be started again after a stop.

    Attributes:
        lifecycle: the server's state, for all to read.
        services: what serves the handlers; None until the start is complete and after the stop.

    """

    def __init__(self, plan: Plan) -> None:
        self.lifecycle = Lifecycle()
        self.services: Services | None = None
        self._plan = plan
        self._entered = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_over = asyncio.Event()
        self._waiting = 0
        self._lazy: asyncio.Task[None] | None = None

    @property
    def was_entered(self) -> bool:
        """Whether the app has ever been started."""
        return self._loop is not None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the app runs on another event loop than the current one."""
        return self._entered and self._loop is not asyncio.get_running_loop()

    @property
    def is_entered(self) -> bool:
        """Whether the app is starting or running."""
        return self._entered

    def operations(self) -> list[Operation]:
        """Return the operation of every handler."""
        return [handler.operation for handler in self._plan.handlers.values()]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the services while the context is open.

        Raises:
            UsageError: the app is running already.
            WorkerFailed: the app ran before, and failed.
            BaseException: whatever ``init`` raised.

        """
        if self.lifecycle.state is State.FAILED:
            raise WorkerFailed("The app has failed; start it in a new process.")
        if self._entered:
            raise UsageError("The app is running already: enter app.lifespan once at a time.")
        self._enter()
        async with self._serving():
            yield

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        try:
            with LineLimit().on(*OURS):
                services = await self._start()
                try:
                    yield
                finally:
                    most = self._plan.limits.grace_period + STOP_TIME
                    with anyio.move_on_after(most, shield=True):
                        await services.stop()
        finally:
            self._leave()

    async def started(self, deadline: float | None = None) -> Services:
        """Return the running services; start them first if nothing has.

        ``deadline`` is in monotonic seconds.

        They are started only once, however many callers there are. The first caller does not own
        them: they end with the event loop. Cancellation leaves the start running.

        Raises:
            Starting: the deadline has passed, or too many callers wait for the start already.
            Draining: the app is stopping or has stopped.
            WorkerFailed: ``init`` or the GPU thread has failed.

        """
        if self.services is None:
            self.begin()
            if self._waiting >= self._plan.limits.queue_size:
                raise Starting("The model is still loading.", retry_after=1)
            self._waiting += 1
            try:
                left = None if deadline is None else deadline - time.monotonic()
                await asyncio.wait_for(self._start_over.wait(), left)
            except TimeoutError:
                raise Starting("The model is still loading.", retry_after=1) from None
            finally:
                self._waiting -= 1
        if self.lifecycle.state is State.FAILED:
            raise WorkerFailed("The model could not be loaded.")
        if self.services is None:
            raise Draining("The server is stopping.")
        return self.services

    def begin(self) -> None:
        """Start the services in the background, unless they have been started already."""
        if self._entered or self.lifecycle.state is State.FAILED:
            return
        if self._loop is asyncio.get_running_loop():
            return  # it ran on this loop before: this request comes too late
        logger.warning(
            "this app's lifespan was not entered, so its first request starts it and waits for "
            "init; to load the model earlier, give the parent app lifespan=app.lifespan, or "
            "enter app.lifespan() in the parent's own lifespan"
        )
        self._enter()
        self._lazy = asyncio.create_task(
            self._run_until_the_loop_ends(),
            name="potassium-lazy",
            context=contextvars.Context(),  # what the first request set must not leak into others
        )
        self._lazy.add_done_callback(self._leave)  # also if it never ran its first step

    def drain(self) -> None:
        """Stop admitting calls; those admitted have the grace period to finish."""
        if self.services is not None:
            self.services.drain()

    @property
    def was_cut_off(self) -> bool:
        """Whether the grace period ended with callers still waiting for their calls."""
        return self.services is not None and self.services.engine.cut_off > 0

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a result."""
        return self.services is None or not self.services.engine.calls

    def _enter(self) -> None:
        self._entered = True
        self._loop = asyncio.get_running_loop()
        self._start_over = asyncio.Event()

    def _leave(self, _: object = None) -> None:
        self.services = None
        self._entered = False

    async def _run_until_the_loop_ends(self) -> None:
        try:
            async with self._serving():
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            trace = trace_below(error)
            logger.critical(
                "init failed; the app answers 503 from now on",
                exc_info=(type(error), error, trace),
            )

    async def _start(self) -> Services:
        if self.lifecycle.state is State.STOPPED:
            self.lifecycle.advance(State.STARTING)
        services = Services(self._plan, self.lifecycle)
        try:
            await services.start()
            self.services = services
        finally:
            self._start_over.set()
        return services
