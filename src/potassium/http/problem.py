"""Errors as the client sees them: ``application/problem+json`` (RFC 9457)."""

import logging
import traceback
from collections.abc import Collection, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException

from potassium.errors import (
    DeadlineExceeded,
    HandlerError,
    PotassiumError,
    StreamBroken,
    Unavailable,
    UnserializableOutput,
)
from potassium.http.codec import encode
from potassium.http.reply import Reply, wire_headers
from potassium.http.response import EMPTY

__all__ = [
    "PROBLEM",
    "answered",
    "code_of",
    "code_of_status",
    "explained",
    "failure_reply",
    "internal",
    "log_failure",
    "problem_document",
    "problem_reply",
]

PROBLEM = (b"content-type", b"application/problem+json")

# Codes not derived from HTTP's phrase: we have our own, or Python releases disagree on the phrase.
CODES = {
    413: "body_too_large",
    414: "uri_too_long",
    416: "range_not_satisfiable",
    422: "invalid_input",
}


def problem_reply(error: Exception, request_id: str, *, debug: bool = False) -> Reply:
    """Return the response to a request that failed with ``error``.

    ``code`` and ``request_id`` are our own extension members. ``debug`` adds the traceback of what
    a handler raised; without it, no traceback leaves the server.
    """
    if isinstance(error, HTTPException):
        status = error.status_code
        detail: Any = error.detail if isinstance(error.detail, dict | list) else str(error.detail)
        # The code that raised it may have given numbers.
        headers: Mapping[str, str] = {str(a): str(b) for a, b in (error.headers or {}).items()}
        members: dict[str, Any] = {}
    elif isinstance(error, PotassiumError):
        status, detail = error.status, error.detail
        headers, members = error.headers, dict(error.members)
    else:
        status, detail = 500, "The server failed to process the request."
        headers, members = {}, {}
    cause = error.__cause__ if isinstance(error, HandlerError) else error
    if debug and status >= HTTPStatus.INTERNAL_SERVER_ERROR and cause is not None:
        members["traceback"] = "".join(traceback.format_exception(cause)).splitlines()
    document = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": detail,
        "code": code_of(error),
        "request_id": request_id,
        **members,
    }
    sent = [(name, value) for name, value in wire_headers(headers) if name != PROBLEM[0]]
    try:
        body = encode(document)
    except UnserializableOutput:  # the app put something into its own error that JSON cannot hold
        body = encode({**document, "detail": "", **dict.fromkeys(members)})
    return Reply(status, b"" if status in EMPTY else body, PROBLEM, *sent)


def problem_document(error: PotassiumError, request_id: str) -> bytes:
    """Return only the problem document of an error, as JSON."""
    return problem_reply(error, request_id).body


def code_of(error: Exception) -> str:
    """Return the stable code of a request that failed with ``error``."""
    if isinstance(error, HTTPException):
        return code_of_status(error.status_code)
    return error.code if isinstance(error, PotassiumError) else PotassiumError.code


def code_of_status(status: int) -> str:
    """Return the stable code of an ``HTTPException`` with this status."""
    return CODES.get(status) or _title(status).lower().replace(" ", "_").replace("-", "_")


def explained(
    error: HTTPException, method: str, path: str, handlers: Collection[str] = ()
) -> HTTPException:
    """Return the router's 404 or 405 with a detail that says what to do instead.

    The detail names the paths in ``handlers``, given only if clients may see them. An error that
    already has its own detail is returned unchanged.
    """
    detail, headers = str(error.detail), error.headers or {}
    if detail != _title(error.status_code):
        return error
    if error.status_code == HTTPStatus.NOT_FOUND:
        where = f"at {', '.join(handlers)}" if handlers else "each at a path of its own"
        detail = f"There is nothing at {path}. Handlers answer POST, {where}."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and "Allow" in headers:
        allowed = " or ".join(sorted(headers["Allow"].split(", ")))
        detail = f"This path takes {allowed}, not {method}."
    return HTTPException(error.status_code, detail, headers)


@cache
def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # not registered with IANA, such as 499
        return f"Status {status}"


SENDABLE = range(200, 600)  # the final HTTP statuses


logger = logging.getLogger("potassium")


def failure_reply(error: PotassiumError, path: str, request_id: str, *, debug: bool) -> Reply:
    """Return the response to a failed call of the handler at ``path``; log what it must not say.

    Starlette's ``HTTPException``, if the handler raised it, keeps its status, detail and headers.
    """
    if answered(error) is not error:
        return problem_reply(answered(error), request_id, debug=debug)
    log_failure(error, path, request_id)
    return problem_reply(error, request_id, debug=debug)


def log_failure(error: PotassiumError, path: str, request_id: str) -> None:
    """Log a failed call of the handler at ``path``, if it is the app's fault or ours."""
    expected = isinstance(error, Unavailable | DeadlineExceeded | StreamBroken)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not expected:
        logger.error(
            "%s failed: %s (request %s)",
            path,
            error.code,
            request_id,
            exc_info=error.__cause__ or error,
            extra={"request_id": request_id, "handler": path},
        )


def answered(error: PotassiumError) -> Exception:
    """Return what a failed call is answered with: ``error``, or the HTTPException behind it."""
    cause = error.__cause__
    if isinstance(cause, HTTPException) and cause.status_code in SENDABLE:
        return cause
    return error


def internal(cause: Exception) -> PotassiumError:
    """Return an error for an unexpected exception, from one of the app's validators or our code."""
    error = PotassiumError("The server failed to process the request.")
    error.__cause__ = cause
    return error
