"""Serves the app's schema, which is made when it is first asked for."""

from collections.abc import Callable
from typing import Any

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

    def routes(self) -> list[Route]:
        """Return the route of the page."""
        return [Route("/openapi.json", self.show, methods=["GET"], name="openapi")]

    async def show(self, request: Request) -> Response:
        """Show the document, with the path where the app is mounted (ASGI ``root_path``)."""
        document = self._document()
        root = request.scope.get("root_path", "")
        if root:
            document = {**document, "servers": [{"url": root}]}
        return Response(encode(document), media_type="application/json")
