"""From an HTTP request to a handler's answer: a bare ASGI callable."""

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from potassium.body import Bodies
from potassium.config import Limits
from potassium.engine import Priority
from potassium.errors import DeadlineExceeded, PotassiumError, Unavailable
from potassium.handler import Handler
from potassium.http import Request
from potassium.preferences import deadline_of, priority_of
from potassium.problem import problem_reply
from potassium.reply import Reply
from potassium.request_id import request_id_of
from potassium.runtime import Runtime

if TYPE_CHECKING:
    from potassium.webhooks import WebhookSender

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
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        A client that leaves, or the request's cancellation, calls its job off.
        """
        handler = self.handler
        request_id = request_id_of(scope)
        deadline = deadline_of(scope, handler.timeout)
        priority = priority_of(scope) if self._priorities else Priority.NORMAL
        try:
            body = await self._bodies.read(scope, receive)
            if body is None:
                return
            request = Request(request_id, scope["headers"], body)
            call = request, handler.bind(request)
            running = self._runtime.running or await self._runtime.started(deadline)
            job = running.engine.admit(
                handler.operation, call, deadline=deadline, priority=priority
            )
            request.job = job
            running.departures.note(job, receive)
            reply: Reply = await running.engine.outcome(job)
        except PotassiumError as error:
            await self._problem(error, request_id).send(request_id, send)
            return
        except Exception as error:  # noqa: BLE001 - of a validator of the user's, or our own
            await self._problem(_internal(error), request_id).send(request_id, send)
            return
        await reply.send(request_id, send)
        if running.webhooks is not None and handler.webhook_url is not None:
            self._post_onward(running.webhooks, handler.webhook_url, reply, request_id)

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

    def _post_onward(
        self, webhooks: "WebhookSender", url: str, reply: Reply, request_id: str
    ) -> None:
        if reply.is_json:
            webhooks.post(url, reply.body, request_id)
        else:
            logger.warning(
                "%s returned no JSON: nothing is posted to its webhook",
                self.handler.path,
                extra={"request_id": request_id, "handler": self.handler.path},
            )


def _internal(cause: Exception) -> PotassiumError:
    error = PotassiumError("The server made a mistake.")
    error.__cause__ = cause
    return error
