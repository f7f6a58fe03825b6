"""Answers HTTP requests with a handler: a bare ASGI callable."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.types import Receive, Scope, Send

from potassium.engine import UNBOUND, Engine, Job, Priority, State, Stream, refusal
from potassium.errors import BodyTooLarge, DeadlineExceeded, PotassiumError, StreamBroken
from potassium.handlers.arguments import Estimate
from potassium.handlers.handler import Handler
from potassium.http.connection import while_connected
from potassium.http.exchange import note_body, note_call, note_error, note_job
from potassium.http.foreign_reply import ForeignReply, ForeignSender
from potassium.http.message import Message
from potassium.http.preferences import deadline_of, priority_of, wants_job
from potassium.http.problem import answered, code_of, failure_reply, internal
from potassium.http.request_id import request_id_of
from potassium.http.spooled import SpooledBody
from potassium.serving.bodies import BodyRule
from potassium.serving.clients import client_of
from potassium.serving.measured import as_it_is, measured
from potassium.serving.result_webhooks import post_result
from potassium.serving.runtime import Runtime
from potassium.serving.stream_sender import StreamSender
from potassium.webhooks.outbox import OUTBOX

if TYPE_CHECKING:
    from potassium.jobs.model import StoredJob
    from potassium.jobs.submit import Submissions
    from potassium.serving.plan import Plan
    from potassium.serving.services import Services

__all__ = ["Endpoint"]

T = TypeVar("T")

SENT_AS_THEY_COME = (Stream, ForeignReply)

# What is read of a client that leaves. No variable but ``body`` may refer to a body: it would be in
# memory for as long as the response is sent.
GONE: tuple[list[tuple[bytes, bytes]], None, int] = ([], None, 0)

logger = logging.getLogger("potassium")


class Endpoint:
    """Answers ``POST`` requests on one path, with the handler that ``plan`` has for it.

    No Starlette request or response is built on the way: for a call that takes microseconds, they
    would cost more than everything else here.
    """

    def __init__(self, path: str, plan: "Plan", runtime: Runtime, *, debug: bool) -> None:
        self._path = path
        self._handlers = plan.handlers
        self._runtime = runtime
        self._bodies = plan.bodies
        self._intake = plan.intake
        self._values = plan.limits.json_values
        self._priorities = plan.limits.priorities
        self._fair = plan.limits.fair
        self._has_options = self._priorities or self._fair
        self._stall_timeout = plan.limits.stream_stall_timeout
        self._measured = as_it_is if plan.observation.server_timing else measured
        self._has_workers = plan.workers is not None
        self._debug = debug
        self._told: set[str] = set()

    @cached_property
    def _rule(self) -> BodyRule:
        handler = self._handlers[self._path]
        return self._bodies.rule(handler.options.get("body_size"), spools=handler.bind.spools)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; call its job off if the client disconnects, or on cancellation."""
        handler = self._handlers[self._path]
        send = self._measured(send, scope, self._runtime)
        sender: StreamSender | ForeignSender | None = None
        body: bytes | SpooledBody | None = None
        held = 0
        try:
            headers, body, held = await self._bodies.read(scope, receive, self._rule) or GONE
            if body is None:
                return
            deadline = deadline_of(scope, handler.options.get("timeout"))
            message = Message(request_id_of(scope), headers, body, scope, json_values=self._values)
            if type(body) is SpooledBody and handler.bind.needs_memory(message):
                message.content, held = await self._in_memory(body, receive, deadline)
            if (len(body) if type(body) is bytes else message.size) <= handler.bind.at_once:
                argument = handler.bind(message)
            else:
                estimate = handler.bind.estimate(message)
                held += self._bodies.memory.hold(estimate.memory, own=held)
                argument = await self._bound(handler, message, estimate, receive, deadline)
            services = self._runtime.services or await self._runtime.started(deadline)
            if services.submissions is not None and (handler.is_background or wants_job(scope)):
                stored = await self._submit(services.submissions, handler, message, scope)
                del argument, message  # the client may wait for the result
                held, body = self._bodies.let_go(held, body), None
                await _answer(services.submissions, stored, scope, receive, send)
                return
            OUTBOX.set(services.webhooks.outbox)  # the handler sees what this request's task sees
            call, place = handler.operation, self._place(scope) if self._has_options else {}
            job = services.engine.admit(call, argument, deadline=deadline, origin=message, **place)
            note_call(scope, self._path, job, message)
            del argument  # the job lets go of it as soon as it has run
            services.disconnects.note(job, receive)
            if handler.yields and message.form.keep_alive is not None:
                sender = StreamSender(message.form, message.id, send, self._stall_timeout)
                await _keep_alive(sender, services.engine, job)
            if type(outcome := await services.engine.outcome(job)) in SENT_AS_THEY_COME:
                sender = sender or self._sender(message, send, outcome)
                await _send_all(outcome, sender, services, receive)
        except Exception as error:  # noqa: BLE001 - from an app's validator, or our own code
            await self._fail(error, sender, scope, send, body)
            return
        finally:
            self._bodies.let_go(held, body)
        del body, message  # the client may read its response slowly
        if sender is None:
            await outcome.send(request_id_of(scope), send)
        if handler.webhook_url is not None:
            post_result(services.webhooks.outbox, handler, outcome, request_id_of(scope))

    def _place(self, scope: Scope) -> dict[str, Any]:
        """Return what decides about a call's place in the queue, apart from when it comes."""
        return {
            "priority": priority_of(scope) if self._priorities else Priority.NORMAL,
            "client": client_of(scope) if self._fair else None,
        }

    async def _in_memory(
        self, body: SpooledBody, receive: Receive, deadline: float | None
    ) -> tuple[bytes, int]:
        """Read a body on disk for a handler that needs it in memory; return also what it takes."""
        held = self._bodies.memory.hold(body.size)
        try:
            loaded = await _in_time(receive, deadline, self._intake.read(body))
        except BaseException:
            self._bodies.let_go(held, body)
            raise
        self._bodies.let_go(0, body)
        return loaded, held

    async def _bound(
        self,
        handler: Handler,
        message: Message,
        estimate: Estimate,
        receive: Receive,
        deadline: float | None,
    ) -> Any:
        """Bind a larger body; if it takes a while, unless the client leaves or time runs out."""
        if self._has_workers and self._is_for_worker(handler, message, estimate):
            return UNBOUND
        if estimate.is_quick:
            return handler.bind(message)
        return await _in_time(receive, deadline, self._intake.argument(handler.bind, message))

    def _is_for_worker(self, handler: Handler, message: Message, estimate: Estimate) -> bool:
        """Return whether a worker binds a body, unless it is small; jobs are checked at once."""
        if handler.operation.concurrency is not None:
            return False
        is_large = not estimate.is_quick or handler.bind.at_once >= 0
        return is_large and not (handler.is_background or wants_job(message.scope))

    def _sender(
        self, message: Message, send: Send, outcome: object = None
    ) -> StreamSender | ForeignSender:
        if isinstance(outcome, ForeignReply):
            return ForeignSender(outcome, message.id, send)
        return StreamSender(message.form, message.id, send, self._stall_timeout)

    async def _submit(
        self, submissions: "Submissions", handler: Handler, message: Message, scope: Scope
    ) -> "tuple[StoredJob, int | None]":
        """Store a call as a background job; return the job and its position."""
        if self._runtime.lifecycle.state is not State.READY:
            raise refusal(self._runtime.lifecycle.state)
        stored = await submissions.submit(handler, message, scope, priority_of(scope))
        note_job(scope, self._path, stored[0].id, message)
        return stored

    async def _fail(
        self,
        raised: Exception,
        sender: StreamSender | ForeignSender | None,
        scope: Scope,
        send: Send,
        body: bytes | SpooledBody | None,
    ) -> None:
        """Answer a failed call; if its stream has begun, report the failure in the stream."""
        error = raised if isinstance(raised, PotassiumError) else internal(raised)
        request_id = request_id_of(scope)
        note_error(scope, code_of(answered(error)))
        if body is not None:
            note_body(scope, len(body) if isinstance(body, bytes) else body.size)
        if isinstance(error, BodyTooLarge):
            self._tell_limit(error)
        problem = failure_reply(error, self._path, request_id, debug=self._debug)
        if sender is None or not sender.has_begun:
            await problem.send(request_id, send)
        elif not await sender.fail(error, problem):
            logger.warning(
                "%s: its stream ended early: %s (request %s)",
                self._path,
                error.code,
                request_id,
                extra={"request_id": request_id, "handler": self._path},
            )
            raise StreamBroken(error.detail) from None

    def _tell_limit(self, error: BodyTooLarge) -> None:
        """Log, once for each limit, that a body was over it, and which option raises it."""
        option = None
        if error.detail == self._rule.too_large().detail:
            option = "@app.handler(body_size=...) or Limits(body_size=...)"
        elif "values" in error.detail:
            option = "Limits(json_values=...)"
        if option is not None and option not in self._told:
            self._told.add(option)
            logger.warning(
                "%s refused a body: %s To raise this limit, write %s. This is said once",
                self._path,
                error.detail,
                option,
                extra={"handler": self._path},
            )


async def _in_time(receive: Receive, deadline: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, unless the client leaves or time runs out."""
    left = None if deadline is None else max(deadline - time.monotonic(), 0)
    try:
        async with asyncio.timeout(left):
            return await while_connected(receive, work)
    except TimeoutError:
        raise DeadlineExceeded from None


async def _answer(
    submissions: "Submissions",
    stored: "tuple[StoredJob, int | None]",
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Send the answer to a call that is stored as a job."""
    reply = await submissions.answer(*stored, scope, receive)
    await reply.send(request_id_of(scope), send)


async def _send_all(
    stream: Stream[Job],
    sender: StreamSender | ForeignSender,
    services: "Services",
    receive: Receive,
) -> None:
    """Send a stream to its end, unless the client disconnects."""
    if isinstance(sender, ForeignSender):
        await sender.send_all(receive)
        return
    try:
        with services.disconnects.watching(stream.job, receive):
            await sender.send_all(stream)
    finally:
        services.engine.release(stream)


async def _keep_alive(sender: StreamSender, engine: Engine, job: Job) -> None:
    """Send keep-alives until ``job`` has something to send; if that fails, abandon the job."""
    try:
        await sender.keep_alive_until(job.future)
    except BaseException:
        engine.abandon(job)
        raise
