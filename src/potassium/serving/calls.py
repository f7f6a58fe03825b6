"""Calls of handlers by Python code in the same process."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from potassium.engine import Engine, Errand, Job, Priority, State, Stream, refusal
from potassium.errors import PotassiumError, UnserializableOutput, UsageError
from potassium.handlers.functions import name_of
from potassium.handlers.handler import Handler
from potassium.handlers.in_process import InProcess, Value, caller_of
from potassium.handlers.items import as_body, bound, crossing
from potassium.http.codec import decode, encode
from potassium.http.message import Message
from potassium.http.problem import answered, internal, log_failure
from potassium.http.representations.choice import file_form
from potassium.http.request import CURRENT
from potassium.http.request_id import new_request_id
from potassium.http.results import reply_to
from potassium.serving.call_options import CallOptions
from potassium.serving.chunks import Chunks
from potassium.serving.deadlocks import check_no_deadlock, check_not_init
from potassium.serving.plan import Plan
from potassium.serving.result_webhooks import post_result
from potassium.serving.runtime import Runtime
from potassium.serving.services import Services
from potassium.serving.timed_run import TimedRun
from potassium.webhooks.outbox import OUTBOX

__all__ = ["Calls"]


class Calls:
    """Makes calls that take the same way as those over HTTP, apart from sockets and encoding."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        self._plan = plan
        self._runtime = runtime

    async def call(
        self,
        path: str,
        item: Any,
        *,
        timeout: float | None,  # noqa: ASYNC109 - the time in the queue counts, too
        priority: str,
    ) -> Any:
        """Run the handler at ``path``; return its result, or a list of the chunks that it streams.

        Raises:
            UsageError: the call cannot be made, or not from here.
            PotassiumError: the call was refused or called off, or has failed.
            HTTPException: the handler raised it.

        """
        chunks = await self.stream(path, item, timeout=timeout, priority=priority)
        return [one async for one in chunks] if chunks.is_stream else await anext(chunks)

    def stream(self, path: str, item: Any, *, timeout: float | None, priority: str) -> Chunks:
        """Return the chunks of a call that is made once they are asked for.

        Raises:
            UsageError: there is no such handler, or it runs in the background.

        """
        handler = self.direct(path)
        options = CallOptions.of(timeout, priority)
        call = _Call(self._plan, self._runtime, handler, options)
        return Chunks(lambda: call.outcome(item), call.failure)

    def behind_others(self, path: str, item: Any) -> Chunks:
        """Return the chunks of a call that waits as those of background jobs do.

        Its timeout counts from its beginning, too.
        """
        options = CallOptions(priority=Priority.LOW, is_background=True)
        call = _Call(self._plan, self._runtime, self.direct(path), options)
        return Chunks(lambda: call.outcome(item), call.failure)

    async def submit(
        self, path: str, item: Any, *, priority: str, idempotency_key: str | None
    ) -> dict[str, Any]:
        """Store a call of the handler at ``path`` as a background job; return the job document.

        Raises:
            UsageError: there is no such handler, or the app has no jobs.
            PotassiumError: the call was refused.

        """
        options = CallOptions.of(None, priority)
        handler = self.handler(path)
        if self._plan.jobs is None:
            raise UsageError("app.submit() needs jobs: write Potassium(jobs=Jobs()).")
        body, headers = as_body(item)
        message = Message(_request_id(), headers, body)
        handler.bind(message)
        services = await _services(self._plan, self._runtime, None)
        assert services.jobs is not None  # noqa: S101 - the plan has them
        if self._runtime.lifecycle.state is not State.READY:
            raise refusal(self._runtime.lifecycle.state)
        with self._plan.observation.submitting(handler.path):
            job, position = await services.jobs.intake.submit(
                handler,
                message,
                priority=options.priority,
                idempotency_key=idempotency_key,
                webhook_url=None,
            )
        from potassium.jobs.document import document  # noqa: PLC0415 - only for apps with jobs

        shown = document(job.light, services.jobs.store.clock, position=position)
        result: dict[str, Any] = decode(encode(shown))
        return result

    async def broadcast(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        cache: Callable[[], dict[str, Any]],
    ) -> list[Any]:
        """Run ``function`` wherever the model is, with the cache there; return what it returned.

        Raises:
            UsageError: workers cannot find the function, or the arguments are not JSON.
            Unavailable: the app is starting or stopping, or the worker that ran it has died.
            HandlerError: the function has raised.

        """

        def told() -> bytes:
            from potassium.workers.orders import encode_order  # noqa: PLC0415 - with workers only

            return encode_order(function, arguments, self._plan.main)

        services = await _services(self._plan, self._runtime, None)
        if self._runtime.lifecycle.state is not State.READY:
            raise refusal(self._runtime.lifecycle.state)
        errand = Errand(
            name=f"{function.__module__}.{name_of(function)}",
            run=lambda: function(cache(), **arguments),
            told=told,
        )
        return await services.engine.runner.run_errand(errand)

    def direct(self, path: str) -> Handler:
        """Return the handler at ``path``.

        Raises:
            UsageError: there is none, or it runs in the background.

        """
        handler = self.handler(path)
        if handler.is_background:
            raise UsageError(
                f"{handler.path} runs in the background: await app.submit({handler.path!r}, item)."
            )
        return handler

    def handler(self, path: str) -> Handler:
        """Return the handler at ``path``, whether it runs in the background or not.

        Raises:
            UsageError: there is none.

        """
        handler = self._plan.handlers.get("/" + path.strip("/"))
        if handler is None:
            known = ", ".join(self._plan.handlers) or "none"
            raise UsageError(f"There is no handler at {path!r}; those of this app are: {known}.")
        return handler


class _Call:
    """One call of a handler."""

    def __init__(
        self, plan: Plan, runtime: Runtime, handler: Handler, options: CallOptions
    ) -> None:
        self._plan = plan
        self._runtime = runtime
        self._handler = handler
        self._options = options
        self._id = _request_id()

    async def outcome(self, item: Any) -> tuple[Engine, Stream[Job] | Value]:
        """Make the call, and wait for its result or the first chunk of its stream."""
        with self._plan.observation.calling(self._handler.path):
            return await self._made(item)

    async def _made(self, item: Any) -> tuple[Engine, Stream[Job] | Value]:
        caller = caller_of()
        timeout = None if self._options.is_background else self._timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            if self._options.is_background:  # there are many, and nobody waits for them
                argument, message = await asyncio.to_thread(self._bound, item, caller)
            else:
                argument, message = self._bound(item, caller)
            services = await _services(self._plan, self._runtime, deadline)
            check_no_deadlock(
                self._handler.operation,
                caller,
                services.engine.runner.is_running,
                uses_pool=self._handler.operation.uses_pool,
            )
            token = OUTBOX.set(services.webhooks.outbox)  # for the handler, which gets a copy
            try:
                job = self._admitted(services.engine, argument, message, deadline)
            finally:
                OUTBOX.reset(token)
            coming = services.engine.outcome(job)
            del argument, message, item, job  # the job lets go of them as soon as it has run
            outcome = await coming
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - from an app's validator, or our own code
            failed = self.failure(error)
        else:
            self._post(services, outcome)
            return services.engine, outcome
        try:
            raise failed
        finally:
            del failed  # it refers to this frame

    def _bound(self, item: Any, caller: Job | None) -> tuple[Any, InProcess]:
        argument, message = bound(self._handler.bind, item, self._id, caller)
        if self._plan.workers is not None and self._handler.operation.concurrency is None:
            message = crossing(item, message)
        return argument, message

    def _admitted(
        self, engine: Engine, argument: Any, message: InProcess, deadline: float | None
    ) -> Job:
        is_background = self._options.is_background
        seconds = self._timeout
        if is_background and seconds is not None:
            message.background = TimedRun(lambda: engine.calls.limit_from_now(job, seconds))
        job = engine.admit(
            self._handler.operation,
            argument,
            deadline=deadline,
            origin=message,
            priority=self._options.priority,
            is_background=is_background,
            caller=message.caller,
        )
        return job

    @property
    def _timeout(self) -> float | None:
        own = self._options.timeout
        return self._handler.options.get("timeout") if own is None else own

    def failure(self, raised: Exception) -> Exception:
        """Return what the caller gets for an error, and log it as that of a call over HTTP."""
        error = raised if isinstance(raised, PotassiumError) else internal(raised)
        if answered(error) is error:
            log_failure(error, self._handler.path, self._id)
        return answered(error)

    def _post(self, services: Services, outcome: Stream[Job] | Value) -> None:
        if self._handler.webhook_url is None:
            return
        reply = None
        if isinstance(outcome, Value) and file_form(outcome.value, ()) is None:
            with suppress(UnserializableOutput):
                reply = reply_to(outcome.value)
        post_result(services.webhooks.outbox, self._handler, reply, self._id)


async def _services(plan: Plan, runtime: Runtime, deadline: float | None) -> Services:
    """Return the running services; start them first if nothing has.

    Raises:
        UsageError: the caller is ``init``, or runs on another event loop.

    """
    check_not_init(plan.init, caller_of())
    if runtime.is_elsewhere:
        raise UsageError(
            "The app runs on another event loop. From a thread, call it with "
            "anyio.from_thread.run(app.call, path, item)."
        )
    return runtime.services or await runtime.started(deadline)


def _request_id() -> str:
    """Return the id of the request that this code serves, or a new one."""
    request = CURRENT.get(None)
    return new_request_id() if request is None else request.id
