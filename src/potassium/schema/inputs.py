"""Request bodies: what a handler takes."""

from collections.abc import Iterable
from typing import Any

from potassium.handlers.arguments import Binding, JsonObject, RawBody, WholeRequest
from potassium.handlers.handler import Handler
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components

__all__ = ["ANY_TYPE", "BINARY", "is_parsed", "query_parameters", "request_body"]

BINARY: Json = {"type": "string", "format": "binary"}
OBJECT: Json = {"type": "object", "additionalProperties": True}

JSON = "application/json"
MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
BYTES = "application/octet-stream"
ANY_TYPE = "*/*"


def request_body(handler: Handler, schema: Json | None, components: Components) -> Json:
    """Return the body of a call; ``schema`` is that of what is validated, if it is known."""
    bind = handler.bind
    if isinstance(bind, JsonObject):
        schema = OBJECT
    elif isinstance(bind, WholeRequest):
        schema = ANYTHING
    contents: Json = {}
    for kind in _media_types(bind):
        if kind in (MULTIPART, URLENCODED):
            contents[kind] = {"schema": _form(schema or ANYTHING, components)}
        elif is_parsed(kind) or isinstance(bind, WholeRequest):
            contents[kind] = {"schema": ANYTHING if schema is None else schema}
        else:
            contents[kind] = {"schema": BINARY}
    for kind, content in contents.items():
        if is_parsed(kind):
            content.update(_examples(handler))
    return {"required": ANY_TYPE not in contents, "content": contents}


def _media_types(bind: Binding) -> Iterable[str]:
    """Return the content types to show.

    Any form may be sent in either encoding, but generators of clients need one type for each: here,
    forms with files are multipart, and others are not.
    """
    kinds = [*bind.media_types]
    if isinstance(bind, RawBody | WholeRequest):
        kinds.append(ANY_TYPE)
    elif ANY_TYPE in kinds:
        kinds.insert(kinds.index(ANY_TYPE), BYTES)
    if JSON in kinds and len(kinds) > 1:
        has_files = kinds.index(JSON) > 0
        kinds = [kind for kind in kinds if kind != (URLENCODED if has_files else MULTIPART)]
    return dict.fromkeys(kinds)


def _form(schema: Json, components: Components) -> Json:
    """Return the schema of a value in a form, where files are not encoded as text."""
    name = schema.get("$ref", "").rpartition("/")[2]
    form = _with_files(components.resolved(schema))
    form.pop("title", None)
    if "properties" not in form:  # a file, or several, in fields of any name
        return {"type": "object", "additionalProperties": BINARY}
    return components.add(f"{name}Form", form) if name else form


def _with_files(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_files(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("contentEncoding") == "base64":
        return BINARY
    return {name: _with_files(part) for name, part in schema.items()}


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
    return media_type in (JSON, MULTIPART, URLENCODED) or media_type.endswith("+json")


def _examples(handler: Handler) -> Json:
    example, examples = handler.options.get("example"), handler.options.get("examples")
    if examples is not None:
        return {"examples": {name: {"value": value} for name, value in examples.items()}}
    return {} if example is None else {"example": example}
