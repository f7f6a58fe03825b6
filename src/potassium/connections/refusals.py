"""What a connection answers by itself, where no app gets to see the request."""

from typing import ClassVar

from starlette.types import Scope

from potassium.connections.response_head import response_head
from potassium.errors import PotassiumError, Unavailable
from potassium.http.problem import problem_reply
from potassium.http.request_id import request_id_of

__all__ = ["HeadTooLarge", "MalformedRequest", "TooManyConnections", "refusal"]


class MalformedRequest(PotassiumError):
    """What arrived is not HTTP/1.1 (RFC 9112)."""

    status: ClassVar[int] = 400
    code = "malformed_request"

    def __init__(self) -> None:
        super().__init__("This is not an HTTP/1.1 request.")


class HeadTooLarge(PotassiumError):
    """The target and header fields of a request, or its trailers, exceed ``Limits.head_size``."""

    status = 431
    code = "head_too_large"

    def __init__(self) -> None:
        super().__init__("The head of the request is too large.")


class TooManyConnections(Unavailable):
    """The server has as many connections as ``Limits.connections`` allows, and all are in use."""

    code = "too_many_connections"

    def __init__(self) -> None:
        super().__init__("The server has too many connections.", retry_after=1)


def refusal(error: Exception, defaults: bytes, scope: Scope | None = None) -> bytes:
    """Return a whole response, after which the connection is closed.

    ``scope`` is that of the request, if it has one.
    """
    request_id = request_id_of({"headers": ()} if scope is None else scope)
    reply = problem_reply(error, request_id)
    headers = [*reply.headers, (b"x-request-id", request_id.encode("ascii"))]
    head = response_head(reply.status, headers, defaults, closes=True, may_chunk=False)
    is_empty = scope is not None and scope["method"] == "HEAD"
    return head.encoded if is_empty else head.encoded + reply.body
