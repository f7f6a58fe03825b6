"""Errors as clients of OpenAI's API read them."""

import json
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from potassium.errors import PotassiumError
from potassium.http.problem import problem_reply

__all__ = ["Refused", "error_of", "error_response", "said_of"]


class Refused(PotassiumError):
    """A request that OpenAI's API does not take, or not here."""

    status = 400

    def __init__(
        self, detail: str, *, code: str, param: str | None = None, status: int = 400
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.param = param
        self.status = status

    @classmethod
    def invalid(cls, error: ValidationError) -> "Refused":
        """Return it for the first mistake in a body."""
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        return cls(f"{where}: {first['msg']}", code="invalid_value", param=where or None)


def error_of(document: dict[str, Any], param: str | None = None) -> dict[str, Any]:
    """Return the member ``error`` for a problem document."""
    status = document["status"]
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
        status, kind
    )
    return {
        "message": document["detail"] or document["title"],
        "type": kind,
        "param": param,
        "code": document["code"],
    }


def said_of(error: Exception, request_id: str) -> dict[str, Any]:
    """Return the member ``error`` for what a stream has ended with."""
    document = json.loads(problem_reply(error, request_id).body)
    return error_of(document, getattr(error, "param", None))


def error_response(error: Exception, request_id: str, *, debug: bool = False) -> Response:
    """Return the response to a request that failed: a problem document with ``error`` in it."""
    if not isinstance(error, PotassiumError | HTTPException):
        raise error
    reply = problem_reply(error, request_id, debug=debug)
    document = json.loads(reply.body)
    document["error"] = error_of(document, getattr(error, "param", None))
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in reply.headers
        if name != b"content-length"
    }
    return Response(json.dumps(document), reply.status, headers)
