"""Request bodies: what a handler takes."""

from collections.abc import Iterable
from typing import Any

from potassium.handlers.arguments import Binding, JsonObject, RawBody, WholeRequest
from potassium.handlers.handler import Handler
from potassium.http.codec import decode, encode
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components

__all__ = ["ANY_TYPE", "BINARY", "examples_of", "is_parsed", "request_body"]

BINARY: Json = {"type": "string", "format": "binary"}
OBJECT: Json = {"type": "object", "additionalProperties": True}
FILES: Json = {"type": "object", "additionalProperties": BINARY}  # a file, or several

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
            contents[kind] = _form(bind, schema, components)
        elif is_parsed(kind) or isinstance(bind, WholeRequest):
            contents[kind] = {"schema": ANYTHING if schema is None else schema}
        else:
            contents[kind] = {"schema": BINARY}
    examples = {name: {"value": one} for name, one in examples_of(handler).items()}
    for kind, content in contents.items():
        if examples and is_parsed(kind) and kind != MULTIPART:  # in which files are not text
            content["examples"] = examples
    return {"required": ANY_TYPE not in contents, "content": contents}


def examples_of(handler: Handler) -> dict[str, Any]:
    """Return the examples of inputs, by name, as clients send them in JSON."""
    example, examples = handler.options.get("example"), handler.options.get("examples")
    named = {} if example is None else {"example": example}
    found: dict[str, Any] = decode(encode({**named, **(examples or {})}))
    return found


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


def _form(bind: Binding, schema: Json | None, components: Components) -> Json:
    """Return the content of a form that a value is sent as."""
    if schema is None:
        return {"schema": OBJECT}
    objects = [one for one in components.members(schema) if components.fields(one)]
    forms = [_form_of(one, components) for one in objects]
    if not forms:
        return {"schema": FILES}
    content = {"schema": forms[0] if len(forms) == 1 else {"anyOf": forms}}
    types = getattr(getattr(bind, "form", None), "file_types", {})
    encoding = {
        name: {"contentType": ", ".join(types[name])}
        for one in objects
        for name in components.fields(one)
        if name in types and ANY_TYPE not in types[name]
    }
    return content | ({"encoding": encoding} if encoding else {})


def _form_of(schema: Json, components: Components) -> Json:
    """Return the schema of an object in a form, where files are not encoded as text."""
    name = schema.get("$ref", "").rpartition("/")[2]
    fields = {field: _as_file(one) for field, one in components.fields(schema).items()}
    form = {**components.resolved(schema), "properties": fields}
    form.pop("title", None)
    return components.add(f"{name}Form", form) if name else form


def _as_file(field: Json, *, is_item: bool = False) -> Json:
    """Return the schema of a field that may be a file, several, or anything else.

    Files within objects and nested arrays are text, as these are sent as JSON.
    """
    if field.get("contentEncoding") == "base64":
        return {key: one for key, one in field.items() if not key.startswith("content")} | BINARY
    if "anyOf" in field:
        return {**field, "anyOf": [_as_file(one, is_item=is_item) for one in field["anyOf"]]}
    if "items" in field and not is_item:
        return {**field, "items": _as_file(field["items"], is_item=True)}
    return field


def is_parsed(media_type: str) -> bool:
    """Return whether the schema of a value describes bodies of this type, which are not opaque."""
    return media_type in (JSON, MULTIPART, URLENCODED) or media_type.endswith("+json")
