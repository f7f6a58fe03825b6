"""Request bodies: what a handler takes."""

from potassium.handlers.arguments import JsonObject, RawBody, WholeRequest
from potassium.handlers.handler import Handler
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components

__all__ = ["BINARY", "is_parsed", "query_parameters", "request_body"]

BINARY: Json = {"type": "string", "format": "binary"}
OBJECT: Json = {"type": "object", "additionalProperties": True}

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
ANY_TYPE = "*/*"


def request_body(handler: Handler, schema: Json | None) -> Json:
    """Return the body of a call; ``schema`` is that of what is validated, if it is known."""
    bind = handler.bind
    if isinstance(bind, JsonObject):
        schema = OBJECT
    contents: Json = {
        kind: {"schema": (schema or ANYTHING) if is_parsed(kind) else BINARY}
        for kind in bind.media_types
    }
    if isinstance(bind, RawBody | WholeRequest):
        contents[ANY_TYPE] = {"schema": ANYTHING if isinstance(bind, WholeRequest) else BINARY}
    for content in contents.values():
        content.update(_examples(handler))
    return {"required": not isinstance(bind, RawBody | WholeRequest), "content": contents}


def query_parameters(schema: Json | None, components: Components) -> list[Json]:
    """Return the fields of what is validated, if it has any, as parameters of a query."""
    found = components.resolved(schema or ANYTHING)
    required = found.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in found.get("properties", {}).items()
    ]


def is_parsed(media_type: str) -> bool:
    """Return whether the schema of a value describes bodies of this type, which are not opaque."""
    return media_type in ("application/json", *FORMS) or media_type.endswith("+json")


def _examples(handler: Handler) -> Json:
    example, examples = handler.options.get("example"), handler.options.get("examples")
    if examples is not None:
        return {"examples": {name: {"value": value} for name, value in examples.items()}}
    return {} if example is None else {"example": example}
