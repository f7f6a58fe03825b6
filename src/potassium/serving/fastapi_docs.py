"""How handlers and other routes are described in the documentation of a FastAPI app."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.routing import Route

from potassium.handlers.arguments import JsonObject, RawBody
from potassium.handlers.handler import Handler

__all__ = ["inlined", "operation_of", "operation_of_route"]

SCHEMAS_BY_NAME = ("properties", "patternProperties", "dependentSchemas")
VALUES = ("const", "default", "enum", "example", "examples", "required")  # not schemas

PROBLEM = {
    "title": "Problem",
    "type": "object",
    "required": ["title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


def operation_of(handler: Handler) -> dict[str, Any]:
    """Return the OpenAPI operation object of a handler (OpenAPI 3.1, section 4.8.10).

    It contains no references, so that it is valid in any document.
    """
    first, _, rest = (inspect.getdoc(handler.function) or "").partition("\n")
    media_types = ["application/json"]
    if handler.yields:
        media_types = ["text/event-stream", "application/x-ndjson"]
    operation: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": _schema_of(handler)} for kind in handler.bind.media_types},
        },
        "responses": _responses(202, ["application/json"])
        if handler.is_background
        else _responses(200, media_types),
    }
    if first:
        operation["summary"] = first.removesuffix(".")
    if rest.strip():
        operation["description"] = rest.strip()
    return operation


def operation_of_route(route: Route) -> dict[str, Any]:
    """Return the operation object of a route that is not a handler's, such as those of jobs."""
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.param_convertors
        ],
        "responses": _responses(200, ["application/json"]),
    }


def _responses(status: int, media_types: Iterable[str]) -> dict[str, Any]:
    return {
        str(status): {"content": {media_type: {} for media_type in media_types}},
        "default": {
            "description": "The request was refused or has failed",
            "content": {"application/problem+json": {"schema": PROBLEM}},
        },
    }


def _schema_of(handler: Handler) -> dict[str, Any]:
    adapter = handler.bind.adapter
    if adapter is None:
        if isinstance(handler.bind, RawBody):
            return {"type": "string", "format": "binary"}
        return {"type": "object"} if isinstance(handler.bind, JsonObject) else {}
    import pydantic  # noqa: PLC0415 - only for apps that validate, which have imported it

    try:
        return inlined(adapter.json_schema())
    except pydantic.errors.PydanticUserError:  # it validates what JSON does not have
        return {}


def inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON schema with each reference replaced by what it refers to.

    Where a schema contains itself, the inner one allows anything.
    """
    definitions = schema.get("$defs", {})

    def walk(node: Any, within: frozenset[str]) -> Any:
        if isinstance(node, list):
            return [walk(item, within) for item in node]
        if not isinstance(node, dict):
            return node
        result: dict[str, Any] = {}
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        if name in within:
            result["title"] = name
        elif name:
            result.update(walk(definitions[name], within | {name}))
        for key, value in node.items():
            if key in SCHEMAS_BY_NAME:
                result[key] = {one: walk(part, within) for one, part in value.items()}
            elif key in VALUES:
                result[key] = value
            elif key not in ("$defs", "$ref", "discriminator"):  # which refers by name
                result[key] = walk(value, within)
        return result

    walked: dict[str, Any] = walk(dict(schema), frozenset())
    return walked
