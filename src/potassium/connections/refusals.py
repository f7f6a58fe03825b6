"""Responses that a connection sends by itself, to requests that no app sees."""

from starlette.types import Scope

from potassium.connections.response_head import response_head
from potassium.http.problem import problem_reply
from potassium.http.request_id import request_id_of

__all__ = ["refusal"]


def refusal(error: Exception, defaults: bytes, scope: Scope) -> bytes:
    """Return a complete response, after which the connection is closed.

    ``scope`` is the ASGI scope of the request, or as much of it as is known.
    """
    request_id = request_id_of(scope)
    reply = problem_reply(error, request_id)
    headers = [*reply.headers, (b"x-request-id", request_id.encode("ascii"))]
    head = response_head(reply.status, headers, defaults, closes=True, may_chunk=False)
    is_empty = scope.get("method") == "HEAD"
    return head.encoded if is_empty else head.encoded + reply.body
