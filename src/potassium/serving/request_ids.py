"""Adds the request's id to every response."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from potassium.http.request_id import request_id_of

__all__ = ["RequestIds"]


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
