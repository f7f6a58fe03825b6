"""The models of an API: which handler answers for which of them."""

import time
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from potassium.openai.errors import Refused, answering

__all__ = ["Models"]


class Models:
    """The models that clients may ask for, and the handlers of each.

    A handler has a kind, such as ``"chat"``, by the route that it answers at.
    """

    def __init__(self) -> None:
        self._paths: dict[tuple[str, str], str] = {}  # by kind and model
        self._created = int(time.time())

    def add(self, kind: str, model: str, path: str) -> None:
        """Let the handler at ``path`` answer for ``model``."""
        self._paths[kind, model] = path

    def paths(self, kind: str) -> Iterator[str]:
        """Yield the paths of all handlers of a kind."""
        return (path for (other, _), path in self._paths.items() if other == kind)

    def path(self, kind: str, model: str) -> str:
        """Return the path of the handler of a kind for a model.

        Raises:
            Refused: no handler of this kind answers for the model.

        """
        path = self._paths.get((kind, model))
        if path is None:
            has_model = any(model == known for _, known in self._paths)
            detail = f"The model {model!r} has no {kind}." if has_model else _unknown(model)
            raise Refused(detail, code="model_not_found", param="model", status=404)
        return path

    def routes(self, prefix: str) -> list[Route]:
        """Return the routes that show the models."""
        return [
            Route(f"{prefix}/models", self._list, methods=["GET"]),
            Route(f"{prefix}/models/{{model:path}}", answering(self._one), methods=["GET"]),
        ]

    async def _list(self, _: Request) -> Response:
        names = dict.fromkeys(model for _, model in self._paths)
        return JSONResponse({"object": "list", "data": [self._shown(name) for name in names]})

    async def _one(self, request: Request) -> Response:
        name = request.path_params["model"]
        if all(name != known for _, known in self._paths):
            raise Refused(_unknown(name), code="model_not_found", param="model", status=404)
        return JSONResponse(self._shown(name))

    def _shown(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "potassium"}


def _unknown(model: str) -> str:
    return f"There is no model {model!r} here."
