"""Answers HTTP requests with a handler: a bare ASGI callable."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

from potassium.engine import Engine, Job, Priority, State, Stream, refusal
from potassium.errors import DeadlineExceeded, PotassiumError, StreamBroken
from potassium.handlers.arguments import Estimate
from potassium.handlers.handler import Handler
from potassium.http.connection import while_connected
from potassium.http.message import Message
from potassium.http.preferences import deadline_of, priority_of, wants_job
from potassium.http.problem import failure_reply, internal
from potassium.http.request_id import request_id_of
from potassium.serving.bodies import UNCOUNTED
from potassium.serving.clients import client_of
from potassium.serving.result_webhooks import post_result
from potassium.serving.runtime import Runtime
from potassium.serving.stream_sender import StreamSender
from potassium.webhooks.outbox import OUTBOX

if TYPE_CHECKING:
    from potassium.jobs.model import StoredJob
    from potassium.jobs.submit import Submissions
    from potassium.serving.services import Plan, Services

__all__ = ["Endpoint"]

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
        self._json_values = plan.limits.json_values
        self._priorities = plan.limits.priorities
        self._fair = plan.limits.fair
        self._has_options = self._priorities or self._fair
        self._stall_timeout = plan.limits.stream_stall_timeout
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; call its job off if the client disconnects, or on cancellation."""
        handler = self._handlers[self._path]
        request_id = request_id_of(scope)
        deadline = deadline_of(scope, handler.options.get("timeout"))
        sender: StreamSender | None = None
        held = 0
        try:
            body = await self._bodies.read(scope, receive)
            if body is None:
                return
            held = len(body) if len(body) > UNCOUNTED else 0
            message = Message(request_id, scope["headers"], body, json_values=self._json_values)
            if len(body) <= handler.bind.at_once:
                argument = handler.bind(message)
            else:
                estimate = handler.bind.estimate(body)
                held += self._bodies.hold(estimate.memory, own=held)
                argument = await self._bound(handler, message, estimate, receive, deadline)
            services = self._runtime.services or await self._runtime.started(deadline)
            if services.submissions is not None and (handler.is_background or wants_job(scope)):
                stored = await self._submit(services.submissions, handler, message, scope)
                del argument, body, message  # the client may wait for the result
                held = self._bodies.let_go(held)
                await _answer(services.submissions, stored, scope, receive, send)
                return
            OUTBOX.set(services.webhooks.outbox)  # the handler sees what this request's task sees
            options = self._options(scope) if self._has_options else {}
            job = services.engine.admit(
                handler.operation, argument, deadline=deadline, origin=message, **options
            )
            del argument  # the job lets go of it as soon as it has run
            services.disconnects.note(job, receive)
            if handler.yields and message.form.keep_alive is not None:
                sender = self._sender(message, send)
                await _keep_alive(sender, services.engine, job)
            outcome = await services.engine.outcome(job)
            if type(outcome) is Stream:
                sender = sender or self._sender(message, send)
                await _send_all(outcome, sender, services, receive)
        except Exception as error:  # noqa: BLE001 - from an app's validator, or our own code
            await self._fail(error, sender, request_id, send)
            return
        finally:
            self._bodies.let_go(held)
        del body, message  # the client may read its response slowly
        if type(outcome) is not Stream:
            await outcome.send(request_id, send)
        if handler.webhook_url is not None:
            post_result(services.webhooks.outbox, handler, outcome, request_id)

    def _options(self, scope: Scope) -> dict[str, Any]:
        """Return what decides about a call's place in the queue, apart from when it comes."""
        return {
            "priority": priority_of(scope) if self._priorities else Priority.NORMAL,
            "client": client_of(scope) if self._fair else None,
        }

    async def _bound(
        self,
        handler: Handler,
        message: Message,
        estimate: Estimate,
        receive: Receive,
        deadline: float | None,
    ) -> Any:
        """Bind a larger body; if it takes a while, unless the client leaves or time runs out."""
        if estimate.is_quick:
            return handler.bind(message)
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        try:
            async with asyncio.timeout(left):
                return await while_connected(receive, self._intake.argument(handler.bind, message))
        except TimeoutError:
            raise DeadlineExceeded from None

    def _sender(self, message: Message, send: Send) -> StreamSender:
        return StreamSender(message.form, message.id, send, self._stall_timeout)

    async def _submit(
        self, submissions: "Submissions", handler: Handler, message: Message, scope: Scope
    ) -> "tuple[StoredJob, int | None]":
        """Store a call as a background job; return the job and its position."""
        if self._runtime.lifecycle.state is not State.READY:
            raise refusal(self._runtime.lifecycle.state)
        return await submissions.submit(handler, message, scope, priority_of(scope))

    async def _fail(
        self, raised: Exception, sender: StreamSender | None, request_id: str, send: Send
    ) -> None:
        """Answer a failed call; if its stream has begun, report the failure in the stream."""
        error = raised if isinstance(raised, PotassiumError) else internal(raised)
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
    stream: Stream[Job], sender: StreamSender, services: "Services", receive: Receive
) -> None:
    """Send a stream to its end, unless the client disconnects."""
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
