"""Starts and stops the services: for a lifespan, or for the first request without one."""

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from starlette.types import Scope

from potassium.engine import Activity, Heartbeat, Lifecycle, Operation, State, WorkerReport
from potassium.errors import Draining, PotassiumError, Starting, UsageError, WorkerFailed
from potassium.observe import Observation
from potassium.serving.imported import check_not_imported
from potassium.serving.line_limit import OURS, LineLimit
from potassium.serving.own_loggers import enable_own_loggers
from potassium.serving.plan import Plan
from potassium.serving.services import Services
from potassium.serving.startup import Startup
from potassium.serving.startup_errors import trace_below

__all__ = ["Runtime"]

IDLE = Heartbeat(Activity.IDLE, 0.0)

STOP_TIME = 15.0  # seconds beyond the grace period that a stop may take, webhooks included

logger = logging.getLogger("potassium")


class Runtime:
    """Starts and stops what serves the handlers that ``plan`` holds at the time of the start.

    Belongs to the event loop that started it. Can be started again after a stop, and after a start
    that failed before ``init`` was run.

    Args:
        check: called at the start; raises UsageError if the plan is incomplete.

    Attributes:
        name: the app's name.
        lifecycle: the server's state, for all to read.
        services: what serves the handlers; None until the start is complete and after the stop.

    """

    def __init__(self, plan: Plan, check: Callable[[], object]) -> None:
        self.name = plan.name
        self.lifecycle = Lifecycle()
        self.services: Services | None = None
        self._begun: Services | None = None
        self._plan = plan
        self._check = check
        self._entered = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_over = asyncio.Event()
        self._waiting = 0
        self._entered_at = 0.0  # monotonic seconds
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

    @property
    def observation(self) -> Observation:
        """What is measured."""
        return self._plan.observation

    @property
    def startup(self) -> Startup:
        """What the time of the last start went into."""
        return self._plan.startup

    def startup_seconds(self) -> dict[str, float]:
        """Return how long each phase of the last start took, by its name."""
        return {name: phase.seconds for name, phase in self.startup.phases.items()}

    def operations(self) -> list[Operation]:
        """Return the operation of every handler."""
        return [handler.operation for handler in self._plan.handlers.values()]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the services while the context is open.

        Raises:
            UsageError: the app is running already, its module is being imported for it, its plan is
                incomplete, or its store cannot be opened.
            WorkerFailed: the app has failed before.
            BaseException: whatever ``init`` raised.

        """
        check_not_imported()  # app.serve() has said so, other servers have not
        if self.lifecycle.state is State.FAILED:
            if not self._may_try_again:
                raise WorkerFailed("The app has failed; start it in a new process.")
            self.lifecycle = Lifecycle()
        if self._entered:
            raise UsageError("The app is running already: enter app.lifespan once at a time.")
        self._enter()
        self._plan.startup.begin(by_request=False)
        async with self._serving():
            yield

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        enable_own_loggers()
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
            WorkerFailed: the start or the GPU thread has failed.

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
            raise WorkerFailed("The app could not be started, or has failed.")
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
        self._plan.startup.begin(by_request=True)
        self._lazy = asyncio.create_task(
            self._run_until_the_loop_ends(),
            name="potassium-lazy",
            context=contextvars.Context(),  # what the first request set must not leak into others
        )
        self._lazy.add_done_callback(self._leave)  # also if it never ran its first step

    def unready(self) -> dict[str, str] | None:
        """Return why a call would not be admitted now, a ``reason`` and perhaps a ``detail``.

        Returns None if it would be. A full queue of one async handler is no reason: all other calls
        are admitted.
        """
        state, services = self.lifecycle.state, self.services
        if state is not State.READY:
            return {"reason": state.value}
        if services is None:  # the model is loaded, but not all else
            return {"reason": State.STARTING.value}
        if services.engine.is_full():
            return {"reason": "queue_full"}
        if (workers := self.workers()) and not any(one.activity for one in workers):
            return {"reason": "no_worker"}
        if services.jobs is not None and (fault := services.jobs.store.fault) is not None:
            return {"reason": "store_failed", "detail": fault}
        return None

    def workers(self) -> Sequence[WorkerReport]:
        """Return what there is to say of each worker process, also while the first ones load."""
        return () if self._begun is None else self._begun.workers()

    def heartbeat(self) -> Heartbeat:
        """Return whether the app's threads are idle, busy or stuck.

        While the model is being loaded, they are busy, however long that takes.
        """
        now, services = time.monotonic(), self.services
        beat = IDLE if services is None else services.engine.pulse.beat()
        if self.lifecycle.state is State.FAILED:
            since = now - self.lifecycle.changed_at
            return Heartbeat(Activity.STUCK, max(beat.last_progress_seconds, since))
        if services is None and self._entered:
            return Heartbeat(Activity.BUSY, now - self._entered_at)
        return beat

    def drain(self, *, calls: bool = True) -> None:
        """Begin no more background jobs and, with ``calls``, admit no more calls.

        Those admitted have the grace period to finish.
        """
        if self.services is not None:
            self.services.drain(calls=calls)

    @property
    def has_failed(self) -> bool:
        """Whether the app must be started in a new process."""
        return self.lifecycle.state is State.FAILED

    def refused(self, error: PotassiumError, scope: Scope) -> None:
        """Note what a connection has answered by itself, without the app."""
        self.observation.refused(error, scope)

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
        self._entered_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._start_over = asyncio.Event()

    def _leave(self, _: object = None) -> None:
        self.services = self._begun = None
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
                "the app %s could not start; it answers 503 from now on",
                self.name,
                exc_info=(type(error), error, trace),
            )

    async def _start(self) -> Services:
        self._may_try_again = False
        if self.lifecycle.state is State.STOPPED:
            self.lifecycle.advance(State.STARTING)
        services = self._begun = Services(self._plan, self.lifecycle)
        try:
            self._check()
            await services.start()
            self.services = services
        except asyncio.CancelledError:
            raise
        except BaseException:
            if self.lifecycle.state is State.STARTING:  # the engine was not started
                self._may_try_again = True
                self.lifecycle.advance(State.FAILED)
            raise
        finally:
            self._start_over.set()
        return services
