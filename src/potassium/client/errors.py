"""What a call raises that gets no result.

CallFailed
├── InvalidInput: 400, 413, 415, 422 and their like; the call must be changed
├── Unauthorized: 401, 403; the API key is missing, or a wrong one
├── NotFound: 404, 405, 410; there is no such handler or job
├── Refused: 429, 503; the server cannot do it now
├── ServerFailed: other statuses from 500; the handler raised, or a proxy has no server
├── DeadlineExceeded: 504, or the client's own deadline; also a TimeoutError
├── JobFailed: the background job ended without a result
├── ConnectionFailed: there is no answer, or it broke off
└── UnexpectedAnswer: the answer is not what was asked for

None of them is a ``PotassiumError``. A handler that calls another server and lets such an error
through has failed, and is answered with 500: not with what the other server said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

__all__ = [
    "CallFailed",
    "ConnectionFailed",
    "DeadlineExceeded",
    "InvalidInput",
    "JobFailed",
    "NotFound",
    "Problem",
    "Refused",
    "ServerFailed",
    "Unauthorized",
    "UnexpectedAnswer",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is known of a failure: mostly, the members of a problem document (RFC 9457).

    Attributes:
        code: says what went wrong, for programs: one of the server's codes, or the client's own
            ``connection_failed``, ``deadline_exceeded`` or ``unexpected_answer``. For an answer
            that is not a problem document, such as a proxy's, its status: ``bad_gateway``.
        detail: says it for people.
        status: the HTTP status; None if there was no answer.
        title: the name of the status.
        request_id: under which the server's log has the call.
        errors: what is wrong with an invalid input, each with ``loc``, ``msg`` and ``type``.
        retry_after: seconds after which the server suggests to try again.
        response: the answer, if there was one.

    """

    code: str
    detail: str
    status: int | None = None
    title: str = ""
    request_id: str | None = None
    errors: Sequence[Mapping[str, Any]] = ()
    retry_after: float | None = None
    response: httpx.Response | None = None


class CallFailed(Exception):
    """A call got no result; base class of all errors of the client.

    Attributes:
        code: says what went wrong, for programs; see the contract over HTTP.
        status: the HTTP status; None if there was no answer.
        title: the name of the status.
        detail: says what went wrong, for people.
        request_id: under which the server's log has the call.
        errors: what is wrong with an invalid input, each with ``loc``, ``msg`` and ``type``.
        retry_after: seconds after which the server suggests to try again.
        response: the ``httpx.Response``, if there was one.

    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.code = problem.code
        self.status = problem.status
        self.title = problem.title
        self.detail = problem.detail
        self.request_id = problem.request_id
        self.errors = problem.errors
        self.retry_after = problem.retry_after
        self.response = problem.response

    def __str__(self) -> str:
        """Return status, code, detail, the first of the errors and the request id, if known."""
        status = "" if self.status is None else f"{self.status} "
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{status}{self.code}: {self.detail}{_first_of(self.errors)}{request}"


def _first_of(errors: Sequence[Any]) -> str:
    """Return where the input is invalid, and why; nothing if ``errors`` does not say."""
    if not errors or not isinstance(errors[0], Mapping):
        return ""
    where = errors[0].get("loc")
    place = ".".join(map(str, where)) if isinstance(where, list) else ""
    return f" {place + ': ' if place else ''}{errors[0].get('msg')}"


class InvalidInput(CallFailed):
    """The server does not accept what was sent; ``errors`` says what is wrong where."""


class Unauthorized(CallFailed):
    """The server wants an API key, or another one."""


class NotFound(CallFailed):
    """There is no such handler, no such job, or no longer."""


class Refused(CallFailed):
    """The server cannot serve the call now; ``retry_after`` says when to try again, if it helps."""


class ServerFailed(CallFailed):
    """The handler raised, its result cannot be sent, or there is no server behind the proxy."""


class DeadlineExceeded(CallFailed, TimeoutError):
    """The time for the call, or for waiting for a job, is over."""


class ConnectionFailed(CallFailed):
    """There is no answer, or it broke off: its ``__cause__``, mostly an httpx error, says why."""


class UnexpectedAnswer(CallFailed):
    """The call succeeded, but its answer is not what was asked for: no JSON, or of another type."""


class JobFailed(CallFailed):
    """The background job has failed, or was cancelled, or has expired before it began.

    Attributes:
        job: the job's document.

    """

    def __init__(self, problem: Problem, job: Mapping[str, Any]) -> None:
        super().__init__(problem)
        self.args = (problem, job)
        self.job = job
