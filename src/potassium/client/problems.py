"""Answers that are no success, as the errors that they are raised as."""

import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx
import orjson

from potassium.client.errors import (
    CallFailed,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Problem,
    Refused,
    ServerFailed,
    Unauthorized,
    UnexpectedAnswer,
)

__all__ = [
    "connection_failed",
    "deadline_exceeded",
    "failure",
    "failure_of",
    "problem_of",
    "unexpected",
]

KINDS: Mapping[int, type[CallFailed]] = {
    **dict.fromkeys((400, 406, 411, 413, 414, 415, 422, 431), InvalidInput),
    **dict.fromkeys((401, 403), Unauthorized),
    **dict.fromkeys((404, 405, 410), NotFound),
    **dict.fromkeys((429, 503), Refused),
    504: DeadlineExceeded,
}
SHOWN = 200  # characters of an answer that is not ours


def failure_of(response: httpx.Response) -> CallFailed:
    """Return the error for a response whose body has been read."""
    kind = response.headers.get("content-type", "")
    document: Any = None
    if kind.startswith(("application/problem+json", "application/json")):
        with suppress(orjson.JSONDecodeError):
            document = orjson.loads(response.content)
    if kind.startswith("application/json"):
        document = _of_fastapi(document)
    if not isinstance(document, dict):
        document = _described(response)
    return failure(document, response)


def failure(document: Mapping[str, Any], response: httpx.Response | None) -> CallFailed:
    """Return the error for a problem document, which ``response`` is or contains."""
    problem = problem_of(document, response)
    status = problem.status or 0
    kind = ServerFailed if status >= HTTPStatus.INTERNAL_SERVER_ERROR else CallFailed
    return KINDS.get(status, kind)(problem)


def problem_of(document: Mapping[str, Any], response: httpx.Response | None) -> Problem:
    """Return what a problem document says, member by member; what it lacks comes from elsewhere."""
    status = document.get("status")
    if not isinstance(status, int):
        status = None if response is None else response.status_code
    detail, errors = document.get("detail", ""), document.get("errors", ())
    headers = httpx.Headers() if response is None else response.headers
    return Problem(
        code=str(document.get("code") or _code(status)),
        detail=detail if isinstance(detail, str) else orjson.dumps(detail).decode(),
        status=status,
        title=str(document.get("title") or _title(status)),
        request_id=document.get("request_id") or headers.get("x-request-id"),
        errors=errors if isinstance(errors, list) else (),
        retry_after=_seconds(headers.get("retry-after")),
        response=response,
    )


def connection_failed(error: Exception) -> ConnectionFailed:
    """Return the error for a call whose connection failed with ``error``."""
    detail = str(error) or type(error).__name__
    failed = ConnectionFailed(Problem(code="connection_failed", detail=detail))
    failed.__cause__ = error
    return failed


def deadline_exceeded(detail: str, cause: Exception | None = None) -> DeadlineExceeded:
    """Return the error for a deadline of the client that has passed."""
    late = DeadlineExceeded(Problem(code="deadline_exceeded", detail=detail))
    late.__cause__ = cause
    return late


def unexpected(detail: str, response: httpx.Response | None) -> UnexpectedAnswer:
    """Return the error for an answer that is not what was asked for."""
    known = problem_of({"code": "unexpected_answer", "detail": detail}, response)
    return UnexpectedAnswer(known)


def _of_fastapi(document: Any) -> dict[str, Any] | None:
    """Return a document for an answer in the form of FastAPI, whose dependencies refuse calls."""
    detail = document.get("detail") if isinstance(document, dict) else None
    if isinstance(detail, str):
        return {"detail": detail}
    if isinstance(detail, list):
        return {"detail": "The input is invalid; see errors.", "errors": detail}
    return None


def _described(response: httpx.Response) -> dict[str, Any]:
    """Return a document for an answer that is none: from a proxy, or from the app's own routes."""
    if response.has_redirect_location:
        location = response.headers["location"]
        return {"detail": f"The server redirects to {location}: is base_url right?"}
    kind = response.headers.get("content-type") or "no content type"
    begin = " ".join(response.text[:SHOWN].split())
    detail = f"The answer is not a problem document but has {kind}: {begin!r}"
    return {"detail": detail if begin else "The answer is empty."}


def _title(status: int | None) -> str:
    try:
        return "" if status is None else HTTPStatus(status).phrase
    except ValueError:  # not registered with IANA
        return f"Status {status}"


def _code(status: int | None) -> str:
    return _title(status).lower().replace(" ", "_").replace("-", "_") or "unknown"


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of ``Retry-After``, a number or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
