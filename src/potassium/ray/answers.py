"""How an app answers a GET, as a value."""

import json
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import ASGIApp, Message, Scope, Send

__all__ = ["Answer", "answer_of", "send_answer"]

OF_THE_BODY = (b"content-length", b"content-encoding")


@dataclass(frozen=True)
class Answer:
    """A response.

    Attributes:
        status: its status.
        headers: its headers.
        body: its body.

    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the object in the body."""
        value: dict[str, Any] = json.loads(self.body)
        return value

    def with_body(self, body: bytes) -> "Answer":
        """Return the same with another body."""
        kept = [one for one in self.headers if one[0].lower() not in OF_THE_BODY]
        length = (b"content-length", str(len(body)).encode())
        return replace(self, headers=(*kept, length), body=body)


async def answer_of(app: ASGIApp, request: Scope) -> Answer:
    """Return how ``app`` answers a request without a body."""
    started: Message = {}
    chunks: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))

    await app(dict(request), receive, send)
    return Answer(started["status"], tuple(started.get("headers", ())), b"".join(chunks))


async def send_answer(answer: Answer, send: Send) -> None:
    """Send a response."""
    start = {"type": "http.response.start", "status": answer.status}
    await send({**start, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})
