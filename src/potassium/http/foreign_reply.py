"""Responses of Starlette's, sent as they are."""

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Send

from potassium.errors import PotassiumError, UnserializableOutput
from potassium.http.reply import OURS, OwnReply, Reply
from potassium.http.stream_formats import StreamFormat, WireHeaders

__all__ = ["SCOPE", "ForeignChunks", "ForeignReply", "ForeignSender", "foreign_reply"]

# What a response of Starlette's sees of the request: no headers that would change its status.
SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": [], "extensions": {}}


class ForeignReply(Reply):
    """A response that sends itself, piece by piece: a stream, or a file."""

    __slots__ = ("response",)

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code, b"")
        self.response = response

    async def run(self) -> None:
        """Run the response to its end for nobody, before anything is served."""

        async def ignore(_: Message) -> None: ...

        await self.response({**SCOPE}, _stay, ignore)

    async def collected(self, limit: int) -> Reply:
        """Return the response with all of its body.

        Raises:
            UnserializableOutput: the body has more than ``limit`` bytes.

        """
        pieces: list[bytes] = []
        size = 0

        async def keep(message: Message) -> None:
            nonlocal size
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise UnserializableOutput(f"The response has more than {limit} bytes.")

        await self.response({**SCOPE}, _stay, keep)
        return OwnReply(self.status, b"".join(pieces), *_own(self.response))


class ForeignChunks(StreamFormat):
    """Sends the pieces of such a response as they are, with its own status and headers."""

    media_type = b""

    def __init__(self, status: int, headers: WireHeaders) -> None:
        super().__init__()
        self.status, self.headers = status, headers

    def encode(self, chunk: Any) -> bytes:
        """Return ``chunk``, which is a piece of the body."""
        return bytes(chunk)

    def head(self) -> WireHeaders:
        """Return the headers of the response, but for the request's id, which the server sets."""
        return [pair for pair in self.headers if pair[0] != b"x-request-id"]


class ForeignSender:
    """Sends a ``ForeignReply`` over ASGI, with the request's id.

    Attributes:
        has_begun: whether the head was sent.

    """

    def __init__(self, reply: ForeignReply, request_id: str, send: Send) -> None:
        self.has_begun = False
        self._is_complete = False
        self._response = reply.response
        self._id = (b"x-request-id", request_id.encode("ascii"))
        self._send = send

    async def send_all(self, receive: Receive) -> None:
        """Send the response to its end, unless ``receive`` says that the client has disconnected.

        Raises:
            Exception: whatever the response raises.

        """
        await self._response({**SCOPE}, receive, self._send_with_id)

    async def fail(self, error: PotassiumError, problem: Reply) -> bool:  # noqa: ARG002 - as others
        """Return whether the response is complete: then, its background task has failed.

        Otherwise, the client cannot be told.
        """
        return self._is_complete

    async def _send_with_id(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = [pair for pair in message["headers"] if pair[0] != self._id[0]]
            message = {**message, "headers": [*headers, self._id]}
        await self._send(message)
        if message["type"] == "http.response.body":
            self._is_complete = not message.get("more_body")


def foreign_reply(response: Response) -> Reply:
    """Return the reply that sends a response of Starlette's; if it is complete, the reply is."""
    is_complete = type(response).__call__ is Response.__call__ and response.background is None
    if not is_complete:
        return ForeignReply(response)
    return OwnReply(response.status_code, bytes(response.body), *_own(response))


def _own(response: Response) -> list[tuple[bytes, bytes]]:
    return [pair for pair in response.raw_headers if pair[0].decode("latin-1") not in OURS]


async def _stay() -> Message:
    """Return what a client would report that neither sends more nor leaves."""
    left: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await left
