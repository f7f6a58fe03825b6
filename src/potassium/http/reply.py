"""A response ready for the wire, and how it is sent."""

from collections.abc import Mapping
from typing import Any

from starlette.types import Send

from potassium.http.codec import encode
from potassium.http.response import EMPTY, FIELD_VALUE, NOT_GIVEN, TOKEN, Response

__all__ = ["JSON", "OwnReply", "Reply", "reply_to", "wire_headers"]

JSON = (b"content-type", b"application/json")
BYTES = (b"content-type", b"application/octet-stream")
OURS = ("content-length", "transfer-encoding", "x-request-id")
TEXT = (b"content-type", b"text/plain; charset=utf-8")


class Reply:
    """The encoded status, headers and body of a response.

    It is built where the handler ran, so that none of the user's values, tensors included, leaves
    the GPU thread. The ``Content-Length`` is added here, and the request id by ``send``.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.body = body
        self.headers = [*headers]
        if status not in EMPTY:
            self.headers.append((b"content-length", b"%d" % len(body)))

    @property
    def is_json(self) -> bool:
        """Whether the body is a JSON document."""
        return JSON in self.headers

    async def send(self, request_id: str, send: Send) -> None:
        """Send the response over ASGI, with the request's id."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": [*self.headers, (b"x-request-id", request_id.encode("ascii"))],
            }
        )
        await send({"type": "http.response.body", "body": self.body})


class OwnReply(Reply):
    """A response whose body the app itself has written; it may be anything."""

    __slots__ = ()


def reply_to(result: Any) -> Reply:
    """Return the response for a handler's ``result``.

    ``bytes`` (and ``bytearray`` and ``memoryview``) are sent unchanged, a ``Response`` as it
    specifies, anything else as JSON.

    Raises:
        UnserializableOutput: the result cannot be encoded.

    """
    kind = type(result)
    if kind is bytes:
        return Reply(200, result, BYTES)
    if kind is Response:
        return _reply_to_response(result)
    if kind in (bytearray, memoryview):
        return Reply(200, bytes(result), BYTES)
    return Reply(200, encode(result), JSON)


def _reply_to_response(response: Response) -> Reply:
    if response.json is not NOT_GIVEN:
        kind, body, media_type = Reply, encode(response.json), JSON
    elif isinstance(response.body, str):
        kind, body, media_type = OwnReply, response.body.encode(), TEXT
    else:
        kind, body, media_type = OwnReply, bytes(response.body or b""), BYTES  # type: ignore[arg-type] # no iterator
    headers = wire_headers(response.headers)
    if not any(name == b"content-type" for name, _ in headers) and body:
        headers.append(media_type)
    return kind(response.status, body, *headers)


def wire_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the app's headers as ASGI sends them.

    Headers that the server sets itself and invalid headers are left out.
    """
    return [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in headers.items()
        if TOKEN.fullmatch(name) and FIELD_VALUE.fullmatch(value) and name.lower() not in OURS
    ]
