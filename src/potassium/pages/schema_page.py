"""Serves the app's schema, which is made on the first request for it."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from potassium.http.codec import encode

__all__ = ["SchemaPage"]


class SchemaPage:
    """``GET /openapi.json``.

    Args:
        document: returns the OpenAPI document of the app.

    """

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document
        self._turn = anyio.Lock()

    def routes(self) -> list[Route]:
        """Return the route of the document."""
        return [Route("/openapi.json", self.show, methods=["GET"], name="openapi")]

    async def show(self, request: Request) -> Response:
        """Show the document, with the path where the app is mounted (ASGI ``root_path``).

        The document is made in a thread, because that of large models takes seconds, and only once,
        even if several clients ask for it at the same time.
        """
        root = quote(request.scope.get("root_path", "").rstrip("/"))
        async with self._turn:
            content = await asyncio.to_thread(self._content, root)
        return Response(content, media_type="application/json")

    def _content(self, root: str) -> bytes:
        document = self._document()
        return encode({"servers": [{"url": root}], **document} if root else document)
