"""The fields of queries and of forms that are URL-encoded, where objects are sent as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from potassium.http.codec import encode
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components
from potassium.schema.events import encoded

__all__ = ["in_text", "query_parameters", "sent"]


def query_parameters(
    schema: Json | None, examples: Mapping[str, Any], components: Components
) -> list[Json]:
    """Return the fields of what is validated, if it has any, as parameters of a query.

    Those of a union are the fields of all its members.

    Args:
        schema: that of what is validated; None if it is not known.
        examples: inputs, by name.
        components: has the schemas that it refers to.

    """
    objects = [components.resolved(one) for one in components.objects(schema or ANYTHING)]
    fields: dict[str, list[Json]] = {}
    for one in objects:
        for name, field in one["properties"].items():
            known = fields.setdefault(name, [])
            known += [] if field in known else [field]
    found = []
    for name, some in fields.items():
        field = some[0] if len(some) == 1 else {"anyOf": some}
        shown = {
            key: {"value": sent(field, one[name], components)}
            for key, one in examples.items()
            if isinstance(one, dict) and name in one
        }
        found.append(
            {
                "name": name,
                "in": "query",
                "required": all(name in one.get("required", ()) for one in objects),
                "schema": in_text(field, components),
                **({"examples": shown} if shown else {}),
            }
        )
    return found


def in_text(field: Json, components: Components) -> Json:
    """Return the schema of a field as it is sent: of one that is JSON, as text."""
    return encoded(field) if _is_json(field, components) else field


def sent(field: Json, value: Any, components: Components) -> Any:
    """Return the value of a field as it is sent."""
    return encode(value).decode() if _is_json(field, components) else value


def _is_json(field: Json, components: Components) -> bool:
    """Return whether a field is sent as JSON: if it has objects or nested arrays, and no text."""
    values = [components.resolved(one) for one in components.members(field)]
    items = [
        components.resolved(one)
        for value in values
        for item in (value.get("items"), *value.get("prefixItems", ()))
        if isinstance(item, dict)
        for one in components.members(item)
    ]
    outer, within = _types(values), _types(items)
    has_parts = "object" in outer or not within.isdisjoint(("object", "array"))
    return has_parts and "string" not in outer | within


def _types(schemas: Sequence[Json]) -> set[str]:
    """Return the types that values may have; what may be anything is text."""
    said = [schema.get("type", "string") for schema in schemas]
    return {kind for one in said for kind in ([one] if isinstance(one, str) else one)}
