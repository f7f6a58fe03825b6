"""Request ids, which link log lines, responses and webhooks to a request."""

import os
import random
import re
import uuid
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["RequestIds", "request_id_of"]

VISIBLE = re.compile(rb"[\x21-\x7e]{1,128}")
# Ids need not be unguessable, and uuid.uuid4() asks the kernel for each: the GIL changes hands,
# which took a tenth of the time of a call. Not random's own generator, which models seed.
RANDOM = random.Random()  # noqa: S311
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RANDOM.seed)

SCOPE_KEY = "potassium.request_id"


def request_id_of(scope: Scope) -> str:
    """Return the id of a request, always the same one for the same scope.

    It is the client's ``X-Request-Id`` or ``X-Banana-Request-Id`` if that is 1 to 128 visible
    ASCII characters, otherwise a new UUID (RFC 9562, version 4).
    """
    known: str | None = scope.get(SCOPE_KEY)
    if known is not None:
        return known
    request_id = scope[SCOPE_KEY] = _sent_by_client(scope["headers"]) or _new_id()
    return request_id


def _sent_by_client(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    sent = None
    for name, value in headers:
        if name == b"x-request-id" or (name == b"x-banana-request-id" and sent is None):
            sent = value
    return sent.decode("ascii") if sent is not None and VISIBLE.fullmatch(sent) else None


def _new_id() -> str:
    return str(uuid.UUID(int=RANDOM.getrandbits(128), version=4))


class RequestIds:
    """ASGI middleware that adds an ``X-Request-Id`` to every response that lacks one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope).encode("ascii")

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if all(name.lower() != b"x-request-id" for name, _ in headers):
                    headers.append((b"x-request-id", request_id))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_id)
