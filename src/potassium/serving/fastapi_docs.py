"""How the routes of an app are described in the documentation of a FastAPI app."""

from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

__all__ = ["Document", "inlined", "operation_of"]

Document = Mapping[str, Any]  # of OpenAPI

# Whose keys are names.
BY_NAME = ("content", "encoding", "headers", "patternProperties", "properties", "responses")
VALUES = ("const", "default", "enum", "example", "examples", "required")  # of a schema: no schemas
# Ids would not be unique, and the others refer to parts of the document by their names.
LEFT_OUT = ("operationId", "security", "discriminator", "$ref")


def operation_of(route: Route, method: str, document: Document) -> dict[str, Any]:
    """Return the operation object of a route (OpenAPI 3.1, section 4.8.10).

    It is that of ``document``, if it has one, with all that it refers to, so that it is valid in
    any document.
    """
    operation = document["paths"].get(route.path, {}).get(method.lower())
    return inlined(operation, document) if operation else _unknown(route)


def _unknown(route: Route) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.param_convertors
        ],
        "responses": {"200": {"content": {"application/json": {}}}},
    }


def inlined(part: Document, document: Document) -> dict[str, Any]:
    """Return a part of a document with each reference replaced by what it refers to.

    Where a schema contains itself, the inner one allows anything.
    """

    def walk(node: Any, within: frozenset[str]) -> Any:
        if isinstance(node, list):
            return [walk(item, within) for item in node]
        if not isinstance(node, dict):
            return node
        result: dict[str, Any] = {}
        reference = str(node.get("$ref", ""))
        if reference in within:
            result["title"] = reference.rpartition("/")[2]
        elif reference:
            result.update(walk(_found(reference, document), within | {reference}))
        for key, value in node.items():
            if key in BY_NAME and isinstance(value, dict):
                result[key] = {name: walk(one, within) for name, one in value.items()}
            elif key in VALUES:
                result[key] = value
            elif key not in LEFT_OUT:
                result[key] = walk(value, within)
        return result

    walked: dict[str, Any] = walk(dict(part), frozenset())
    return walked


def _found(reference: str, document: Document) -> Any:
    """Return what a reference within a document refers to (RFC 6901)."""
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found
