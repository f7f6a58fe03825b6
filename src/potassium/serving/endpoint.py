"""From an HTTP request to a handler's answer: a bare ASGI callable."""

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from potassium.config import Limits
from potassium.engine import Engine, Job, Priority, State, Stream, refusal
from potassium.errors import PotassiumError, StreamBroken
from potassium.handlers.handler import Handler
from potassium.http.preferences import deadline_of, priority_of, wants_job
from potassium.http.problem import failure_reply, internal
from potassium.http.request import Request
from potassium.http.sse import KEEP_ALIVE, ServerSentEvents
from potassium.serving.bodies import Bodies
from potassium.serving.request_ids import request_id_of
from potassium.serving.runtime import Runtime
from potassium.serving.stream_sender import StreamSender

if TYPE_CHECKING:
    from potassium.http.reply import Reply
    from potassium.jobs.submit import Submissions

__all__ = ["Endpoint"]

logger = logging.getLogger("potassium")


class Endpoint:
    """Answers ``POST`` requests with one handler.

    No Starlette request or response is built on the way: on calls of microseconds they would
    cost more than everything else here.
    """

    def __init__(self, handler: Handler, runtime: Runtime, limits: Limits, *, debug: bool) -> None:
        """Serve ``handler`` on the engine that ``runtime`` runs."""
        self.handler = handler
        self._runtime = runtime
        self._bodies = Bodies(limits)
        self._priorities = limits.priorities
        self._stall_timeout = limits.stream_stall_timeout
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        A client that leaves, or the request's cancellation, calls its job off.
        """
        handler = self.handler
        request_id = request_id_of(scope)
        deadline = deadline_of(scope, handler.timeout)
        priority = priority_of(scope) if self._priorities else Priority.NORMAL
        relay: StreamSender | None = None
        try:
            body = await self._bodies.read(scope, receive)
            if body is None:
                return
            request = Request(request_id, scope["headers"], body)
            call = request, handler.bind(request)
            running = self._runtime.running or await self._runtime.started(deadline)
            if running.intake is not None and (handler.is_background or wants_job(scope)):
                await self._answer_later(running.intake, request, scope, send)
                return
            engine = running.engine
            job = engine.admit(handler.operation, call, deadline=deadline, priority=priority)
            request.job = job
            running.departures.note(job, receive)
            if handler.yields and isinstance(request.wire, ServerSentEvents):
                relay = self._relay(request, send)
                await _keep_alive(relay, engine, job)
            outcome = await engine.outcome(job)
            if type(outcome) is Stream:
                relay = relay or self._relay(request, send)
                try:
                    with running.departures.watching(job, receive):
                        await relay.send_all(outcome)
                finally:
                    engine.release(outcome)
                if handler.webhook_url is not None:
                    self._warn_of_no_json(request_id)
                return
        except PotassiumError as error:
            await self._fail(error, relay, request_id, send)
            return
        except Exception as error:  # noqa: BLE001 - of a validator of the user's, or our own
            await self._fail(internal(error), relay, request_id, send)
            return
        reply: Reply = outcome
        await reply.send(request_id, send)
        if handler.webhook_url is not None:
            if reply.is_json:
                running.outbox.post(handler.webhook_url, reply.body, request_id)
            else:
                self._warn_of_no_json(request_id)

    async def _answer_later(
        self, intake: "Submissions", request: Request, scope: Scope, send: Send
    ) -> None:
        """Answer a call that is run in the background, where it is safe by now."""
        if self._runtime.lifecycle.state is not State.READY:
            raise refusal(self._runtime.lifecycle.state)
        reply = await intake.answer(self.handler, request, scope, priority_of(scope))
        await reply.send(request.id, send)

    def _relay(self, request: Request, send: Send) -> StreamSender:
        return StreamSender(request.wire, request.id, send, self._stall_timeout)

    async def _fail(
        self, error: PotassiumError, relay: StreamSender | None, request_id: str, send: Send
    ) -> None:
        """Answer a failed call; where its answer has begun already, in the midst of that."""
        problem = failure_reply(error, self.handler.path, request_id, debug=self._debug)
        if relay is None or not relay.has_begun:
            await problem.send(request_id, send)
        elif not await relay.fail(error, problem):
            logger.warning(
                "%s: its stream ended early: %s (request %s)",
                self.handler.path,
                error.code,
                request_id,
                extra={"request_id": request_id, "handler": self.handler.path},
            )
            raise StreamBroken(error.detail) from None

    def _warn_of_no_json(self, request_id: str) -> None:
        logger.warning(
            "%s returned no JSON: nothing is posted to its webhook",
            self.handler.path,
            extra={"request_id": request_id, "handler": self.handler.path},
        )


async def _keep_alive(relay: StreamSender, engine: Engine, job: Job) -> None:
    """Wait until ``job`` has something to send, and show signs of life until then."""
    try:
        while not (await asyncio.wait({job.future}, timeout=KEEP_ALIVE))[0]:
            await relay.keep_alive()
    except BaseException:
        engine.abandon(job)
        raise
