"""Walks a pydantic core schema: nested dicts, each with a ``type``."""

from collections.abc import Iterator
from typing import Any

__all__ = ["AROUND", "Schema", "Schemas", "inner", "outermost"]

Schema = Any  # a pydantic_core.CoreSchema

# What is not validated, or not for JSON.
ASIDE = {"computed_fields", "config", "default", "definitions", "expected", "members", "metadata"}
ASIDE |= {"python_schema", "serialization"}

# What passes a value on to the schemas within it.
AROUND = {"chain", "dataclass-field", "default", "definitions", "function-after", "function-before"}
AROUND |= {"function-wrap", "json-or-python", "lax-or-strict", "model-field", "nullable"}
AROUND |= {"tagged-union", "typed-dict-field", "union"}


class Schemas:
    """All schemas in ``schema``, itself included, each of them once."""

    def __init__(self, schema: Schema) -> None:
        self._all = list(_all_in(schema))
        self._named = {node["ref"]: node for node in self._all if "ref" in node}

    def __iter__(self) -> Iterator[Schema]:
        """Return the schemas, outer ones first."""
        return iter(self._all)

    def resolved(self, node: Schema) -> Schema:
        """Return what a reference refers to; anything else is returned unchanged."""
        if node["type"] == "definition-ref":
            return self._named.get(node["schema_ref"], node)
        return node


def inner(node: Schema) -> list[Schema]:
    """Return the schemas directly within one; a reference has none."""
    return [part for key, value in node.items() if key not in ASIDE for part in _schemas(value)]


def _schemas(value: Any) -> Iterator[Schema]:
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value
        else:
            for part in value.values():
                yield from _schemas(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _schemas(part)


def _all_in(schema: Schema) -> Iterator[Schema]:
    left, seen = [schema], set()
    while left:
        node = left.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            left += [*inner(node), *_schemas(node.get("definitions", ()))]


def outermost(node: Schema, schemas: Schemas) -> Iterator[Schema]:
    """Yield the schemas of which one applies to a value first, without those around them."""
    left, seen = [node], set()
    while left:
        node = schemas.resolved(left.pop())
        if id(node) not in seen:
            seen.add(id(node))
            if node["type"] in AROUND or node.get("root_model"):
                left += inner(node)
            else:
                yield node
