"""One request over bare ASGI, message by message, as a server makes it."""

import asyncio

from starlette.types import ASGIApp, Message, Scope

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"


def scope(path: str = "/", method: str = "POST", **headers: str) -> Scope:
    """Return a JSON request's scope; ``x_request_id="a"`` becomes a header of that name."""
    given = {"content-type": "application/json", **headers}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [
            (name.lower().replace("_", "-").encode(), value.encode())
            for name, value in given.items()
        ],
    }


class Exchange:
    """A client that sees each message when it is sent, reads when it wants to, and may leave."""

    def __init__(
        self,
        app: ASGIApp,
        body: bytes = b"{}",
        path: str = "/",
        method: str = "POST",
        **headers: str,
    ) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._left = asyncio.Event()
        self._body: bytes | None = body
        asked = scope(path, method, **headers)
        self.task = asyncio.ensure_future(app(asked, self._receive, self._send))

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    async def next(self) -> Message:
        """Wait for the app's next message."""
        async with asyncio.timeout(10):
            return await self._sent.get()

    async def body(self) -> bytes:
        """Wait for the next piece of the body."""
        message = await self.next()
        assert message["type"] == "http.response.body"
        return bytes(message["body"])

    async def rest(self) -> bytes:
        """Wait for the end, and return the rest of the body."""
        async with asyncio.timeout(10):
            await self.task
        pieces = []
        while not self._sent.empty():
            pieces.append(await self.body())
        return b"".join(pieces)

    async def rest_of_response(self) -> bytes:
        """Wait for the head and the end of the response, and return its body."""
        await self.next()
        return await self.rest()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        self._sent.put_nowait(message)
