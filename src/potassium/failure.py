"""What comes of a call that failed: its answer, and what only the log may know."""

import logging
from http import HTTPStatus

from starlette.exceptions import HTTPException

from potassium.errors import (
    DeadlineExceeded,
    PotassiumError,
    StreamBroken,
    Unavailable,
)
from potassium.problem import problem_reply
from potassium.reply import Reply

__all__ = ["failure_reply", "internal"]

SENDABLE = range(200, 600)  # final statuses of HTTP

logger = logging.getLogger("potassium")


def failure_reply(error: PotassiumError, path: str, request_id: str, *, debug: bool) -> Reply:
    """Return the answer to a failed call of the handler at ``path``, and log what it may not say.

    An ``HTTPException`` of Starlette's that the handler raised is answered as such.
    """
    cause = error.__cause__
    if isinstance(cause, HTTPException) and cause.status_code in SENDABLE:
        return problem_reply(cause, request_id, debug=debug)
    expected = isinstance(error, Unavailable | DeadlineExceeded | StreamBroken)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not expected:
        logger.error(
            "%s failed: %s (request %s)",
            path,
            error.code,
            request_id,
            exc_info=cause or error,
            extra={"request_id": request_id, "handler": path},
        )
    return problem_reply(error, request_id, debug=debug)


def internal(cause: Exception) -> PotassiumError:
    """Return an error for what nobody meant to raise: of a validator of the app's, or our own."""
    error = PotassiumError("The server made a mistake.")
    error.__cause__ = cause
    return error
