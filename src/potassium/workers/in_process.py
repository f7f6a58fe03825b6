"""Results of calls from the app's own process, which cross from a worker as JSON."""

from typing import Any

from potassium.handlers.in_process import Chunk, Value
from potassium.http.codec import decode
from potassium.http.reply import DescribedReply, OwnReply, Reply
from potassium.http.response import Response

__all__ = ["chunk_of", "result_of", "value_of"]


def value_of(outcome: Any) -> Any:
    """Return the outcome of a call as its caller takes it: a ``Value``, or a ``Failure``."""
    return Value(result_of(outcome)) if isinstance(outcome, Reply) else outcome


def result_of(reply: Reply) -> Any:
    """Return what a handler has returned, as far as it can be told from what is sent for it.

    This is a JSON value, or else bytes; a ``Response`` is one again.
    """
    is_json = reply.is_json and not isinstance(reply, OwnReply)
    content = decode(reply.body) if is_json else reply.body
    if not isinstance(reply, DescribedReply):
        return content
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in reply.headers
        if name != b"content-length"
    ]
    if is_json:
        return Response(reply.status, json=content, headers=headers)
    return Response(reply.status, body=content, headers=headers)


def chunk_of(chunk: bytes) -> Chunk:
    """Return a chunk, sent as a JSON value, as the caller takes it."""
    return Chunk.of(decode(chunk))
