"""How the routes of an app are described in the documentation of a FastAPI app."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.routing import Route

__all__ = ["Document", "inlined", "operation_of"]

Document = Mapping[str, Any]  # of OpenAPI

DEEPEST = 20  # references within references
MOST = 1000  # references of one operation

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

    Where a schema contains itself, the inner one allows anything. So do the innermost ones where
    there would be too many of them: some models contain each other in millions of ways.
    """
    for deepest in range(DEEPEST, 1, -1):
        with suppress(_TooManyError):
            return _Inlining(document, deepest, MOST).of_dict(part)
    return _Inlining(document, 1, sys.maxsize).of_dict(part)


class _TooManyError(Exception):
    """There are too many references to replace."""


class _Inlining:
    """Replaces references, those in ``deepest`` others with anything.

    Args:
        document: has what is referred to.
        deepest: references within references.
        most: references that are replaced.

    """

    def __init__(self, document: Document, deepest: int, most: int) -> None:
        self._document = document
        self._deepest = deepest
        self._left = most

    def of_dict(
        self, node: Mapping[str, Any], within: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """Return a part without references, which is ``within`` what some refer to.

        Raises:
            _TooManyError: there are too many of them.

        """
        result: dict[str, Any] = {}
        reference = str(node.get("$ref", ""))
        if reference:
            result.update(self._replaced(reference, within))
        for key, value in node.items():
            if key in BY_NAME and isinstance(value, dict):
                result[key] = {name: self._of(one, within) for name, one in value.items()}
            elif key in VALUES:
                result[key] = value
            elif key not in LEFT_OUT:
                result[key] = self._of(value, within)
        return result

    def _of(self, node: Any, within: frozenset[str]) -> Any:
        if isinstance(node, list):
            return [self._of(item, within) for item in node]
        return self.of_dict(node, within) if isinstance(node, dict) else node

    def _replaced(self, reference: str, within: frozenset[str]) -> dict[str, Any]:
        if reference in within or len(within) == self._deepest:
            return {"title": reference.rpartition("/")[2]}
        self._left -= 1
        if self._left < 0:
            raise _TooManyError
        return self.of_dict(_found(reference, self._document), within | {reference})


def _found(reference: str, document: Document) -> Any:
    """Return what a reference within a document refers to (RFC 6901)."""
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found
