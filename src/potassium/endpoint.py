"""From an HTTP request to a handler's answer: a bare ASGI callable."""

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from potassium.body import Bodies
from potassium.config import Limits
from potassium.engine import Engine, Job, Priority, Stream
from potassium.errors import (
    ClientLeft,
    DeadlineExceeded,
    PotassiumError,
    StreamBroken,
    Unavailable,
)
from potassium.handler import Handler
from potassium.http import Request
from potassium.preferences import deadline_of, priority_of
from potassium.problem import problem_reply
from potassium.relay import KEEP_ALIVE, Relay
from potassium.reply import Reply
from potassium.request_id import request_id_of
from potassium.runtime import Runtime
from potassium.wire import Events

__all__ = ["Endpoint"]

SENDABLE = range(200, 600)  # final statuses of HTTP

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
        relay: Relay | None = None
        try:
            body = await self._bodies.read(scope, receive)
            if body is None:
                return
            request = Request(request_id, scope["headers"], body)
            call = request, handler.bind(request)
            running = self._runtime.running or await self._runtime.started(deadline)
            engine = running.engine
            job = engine.admit(handler.operation, call, deadline=deadline, priority=priority)
            request.job = job
            running.departures.note(job, receive)
            if handler.yields and isinstance(request.wire, Events):
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
            await self._fail(_internal(error), relay, request_id, send)
            return
        reply: Reply = outcome
        await reply.send(request_id, send)
        if running.webhooks is not None and handler.webhook_url is not None:
            if reply.is_json:
                running.webhooks.post(handler.webhook_url, reply.body, request_id)
            else:
                self._warn_of_no_json(request_id)

    def _relay(self, request: Request, send: Send) -> Relay:
        return Relay(request.wire, request.id, send, self._stall_timeout)

    async def _fail(
        self, error: PotassiumError, relay: Relay | None, request_id: str, send: Send
    ) -> None:
        """Answer a failed call; where its answer has begun already, in the midst of that."""
        if isinstance(error, StreamBroken):
            logger.warning(
                "%s: %s (request %s)",
                self.handler.path,
                error.detail,
                request_id,
                extra={"request_id": request_id, "handler": self.handler.path},
            )
            raise error
        problem = self._problem(error, request_id)
        if relay is not None and relay.has_begun:
            await relay.fail(error, problem)
        else:
            await problem.send(request_id, send)

    def _problem(self, error: PotassiumError, request_id: str) -> Reply:
        """Return the answer to a failed call, and log what only the server may know."""
        cause = error.__cause__
        if isinstance(cause, HTTPException) and cause.status_code in SENDABLE:
            return problem_reply(cause, request_id, debug=self._debug)
        expected = isinstance(error, Unavailable | DeadlineExceeded)
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not expected:
            logger.error(
                "%s failed: %s (request %s)",
                self.handler.path,
                error.code,
                request_id,
                exc_info=cause or error,
                extra={"request_id": request_id, "handler": self.handler.path},
            )
        return problem_reply(error, request_id, debug=self._debug)

    def _warn_of_no_json(self, request_id: str) -> None:
        logger.warning(
            "%s returned no JSON: nothing is posted to its webhook",
            self.handler.path,
            extra={"request_id": request_id, "handler": self.handler.path},
        )


async def _keep_alive(relay: Relay, engine: Engine, job: Job) -> None:
    """Wait until ``job`` has something to send, and show signs of life until then."""
    try:
        while not (await asyncio.wait({job.future}, timeout=KEEP_ALIVE))[0]:
            await relay.keep_alive()
    except BaseException:
        engine.call_off(job, ClientLeft())
        with suppress(PotassiumError):  # the engine counts the job among the open until it is asked
            outcome = await engine.outcome(job)
            if type(outcome) is Stream:
                engine.release(outcome)
        raise


def _internal(cause: Exception) -> PotassiumError:
    error = PotassiumError("The server made a mistake.")
    error.__cause__ = cause
    return error
