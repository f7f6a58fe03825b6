"""A response ready for the wire, and how it is sent."""

from starlette.types import Send

from potassium.http.response import EMPTY, FIELD_VALUE, TOKEN, Headers, pairs_of

__all__ = ["JSON", "OURS", "DescribedReply", "OwnReply", "Reply", "wire_headers"]

JSON = (b"content-type", b"application/json")
OURS = ("content-length", "transfer-encoding", "x-request-id")  # headers that the server sets


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

    @property
    def media_type(self) -> str:
        """The content type."""
        return dict(self.headers).get(b"content-type", b"").decode("latin-1")

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


class DescribedReply(Reply):
    """What a ``Response`` describes."""

    __slots__ = ()


class OwnReply(DescribedReply):
    """A response whose body the app itself has written; it may be anything."""

    __slots__ = ()


def wire_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the app's headers as ASGI sends them.

    Headers that the server sets itself and invalid headers are left out.
    """
    return [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in pairs_of(headers)
        if TOKEN.fullmatch(name) and FIELD_VALUE.fullmatch(value) and name.lower() not in OURS
    ]
