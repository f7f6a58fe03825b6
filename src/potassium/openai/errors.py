"""Errors as clients of OpenAI's API read them."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any

from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from potassium.errors import InvalidInput, PotassiumError
from potassium.http.codec import decode, encode
from potassium.http.exchange import note_error
from potassium.http.problem import code_of, problem_reply
from potassium.http.reply import Reply
from potassium.http.request_id import request_id_of

__all__ = ["Refused", "answering", "error_of", "not_offered", "with_error", "with_error_object"]

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refused(PotassiumError):
    """A request that OpenAI's API does not take, or not here."""

    status = 400
    code = "invalid_value"

    def __init__(
        self,
        detail: str,
        *,
        code: str = "invalid_value",
        param: str | None = None,
        status: int = 400,
    ) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc] # each has its own
        self.status = status  # type: ignore[misc]
        self._param = param

    @property
    def members(self) -> Mapping[str, Any]:
        """Extra members of the problem document."""
        return {"param": self._param}

    @classmethod
    def invalid(cls, error: InvalidInput) -> "Refused":
        """Return it for the first mistake in a body."""
        first = error.errors[0]
        where = ".".join(map(str, first["loc"]))
        return cls(f"{where}: {first['msg']}" if where else first["msg"], param=where or None)


def not_offered(why: str) -> PydanticCustomError:
    """Return what a validator raises for something that is not offered here."""
    return PydanticCustomError("not_offered", "{why}", {"why": why})


def error_of(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Return OpenAI's error object for a problem document."""
    status = problem["status"]
    is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return {
        "message": str(problem["detail"] or problem["title"]),
        "type": TYPES.get(status, "server_error" if is_ours else "invalid_request_error"),
        "param": problem.get("param"),
        "code": problem["code"],
    }


def with_error(problem: bytes) -> bytes:
    """Return a problem document with OpenAI's error object as its member ``error``."""
    document = decode(problem)
    return encode({**document, "error": error_of(document)})


def with_error_object(reply: Reply) -> Reply:
    """Return a problem reply with OpenAI's error object in its document."""
    headers = [header for header in reply.headers if header[0] != b"content-length"]
    return Reply(reply.status, with_error(reply.body), *headers)


def answering(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint whose errors are answered as OpenAI's clients read them."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except PotassiumError as error:
            note_error(request.scope, code_of(error))
            request_id = request_id_of(request.scope)
            reply = with_error_object(problem_reply(error, request_id, debug=request.app.debug))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
        return Response(reply.body, reply.status, headers)

    return answer
