"""Request bodies: what a handler takes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from potassium.handlers.arguments import Binding, JsonObject, RawBody, WholeRequest
from potassium.handlers.handler import Handler
from potassium.http.codec import decode, encode
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components
from potassium.schema.queries import in_text, sent

__all__ = ["ANY_TYPE", "BINARY", "examples_of", "is_parsed", "request_body"]

BINARY: Json = {"type": "string", "format": "binary"}
OBJECT: Json = {"type": "object", "additionalProperties": True}
FILES: Json = {"type": "object", "additionalProperties": BINARY}
ONE_FILE: Json = {**FILES, "minProperties": 1, "maxProperties": 1}

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
    examples = examples_of(handler)
    contents: Json = {}
    for kind in _media_types(bind):
        if kind == MULTIPART:
            contents[kind] = _multipart(bind, schema, components)
        elif kind == URLENCODED:
            contents[kind] = _urlencoded(schema or OBJECT, examples, components)
        elif is_parsed(kind) or isinstance(bind, WholeRequest):
            contents[kind] = {"schema": ANYTHING if schema is None else schema}
            contents[kind] |= _shown(examples)
        else:
            contents[kind] = {"schema": BINARY}
    return {"required": ANY_TYPE not in contents, "content": contents}


def _shown(examples: Mapping[str, Any]) -> Json:
    return (
        {"examples": {name: {"value": one} for name, one in examples.items()}} if examples else {}
    )


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
    if bind.adapter is not None and not bind.adapter.pydantic_complete:
        return Binding.media_types  # it refers to a class that is not defined
    kinds = [*bind.media_types]
    if isinstance(bind, RawBody | WholeRequest):
        kinds.append(ANY_TYPE)
    elif ANY_TYPE in kinds:
        kinds.insert(kinds.index(ANY_TYPE), BYTES)
    if JSON in kinds and len(kinds) > 1:
        has_files = kinds.index(JSON) > 0
        kinds = [kind for kind in kinds if kind != (URLENCODED if has_files else MULTIPART)]
    return dict.fromkeys(kinds)


def _multipart(bind: Binding, schema: Json | None, components: Components) -> Json:
    """Return a form with files, which are not encoded as text."""
    if schema is None:
        return {"schema": OBJECT}
    objects = components.objects(schema)
    if not objects:
        members = [components.resolved(one) for one in components.members(schema)]
        is_one = any("contentEncoding" in one for one in members)  # not a list
        return {"schema": ONE_FILE if is_one else FILES}
    types = getattr(getattr(bind, "form", None), "file_types", {})
    encoding = {
        name: {"contentType": ", ".join(types[name])}
        for one in objects
        for name in components.fields(one)
        if name in types and ANY_TYPE not in types[name]
    }
    content = {"schema": _any_of([_form(one, _as_file, components) for one in objects])}
    return content | ({"encoding": encoding} if encoding else {})


def _urlencoded(schema: Json, examples: Mapping[str, Any], components: Components) -> Json:
    objects = components.objects(schema)
    if not objects:
        return {"schema": OBJECT}

    def as_text(field: Json) -> Json:
        return in_text(field, components)

    fields = {name: one for some in objects for name, one in components.fields(some).items()}
    texts = {
        key: {
            name: sent(fields.get(name, ANYTHING), one, components) for name, one in value.items()
        }
        for key, value in examples.items()
        if isinstance(value, dict)
    }
    forms = [_form(one, as_text, components) for one in objects]
    return {"schema": _any_of(forms), **_shown(texts)}


def _any_of(forms: Sequence[Json]) -> Json:
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _form(schema: Json, change: Callable[[Json], Json], components: Components) -> Json:
    """Return the schema of an object as a form, in which ``change`` is made to each field."""
    name = schema.get("$ref", "").rpartition("/")[2]
    fields = {field: change(one) for field, one in components.fields(schema).items()}
    form = {**components.resolved(schema), "properties": fields}
    form.pop("title", None)
    return components.add(f"{name}Form", form) if name else form


def _as_file(field: Json, *, is_item: bool = False) -> Json:
    """Return the schema of a field that may be a file, several, or anything else.

    Files within objects and nested arrays are text, as these are sent as JSON.
    """
    if field.get("contentEncoding") == "base64":
        as_text = ("contentEncoding", "contentMediaType", "x-potassium")
        return {key: one for key, one in field.items() if key not in as_text} | BINARY
    if "anyOf" in field:
        return {**field, "anyOf": [_as_file(one, is_item=is_item) for one in field["anyOf"]]}
    if "items" in field and not is_item:
        return {**field, "items": _as_file(field["items"], is_item=True)}
    return field


def is_parsed(media_type: str) -> bool:
    """Return whether the schema of a value describes bodies of this type, which are not opaque."""
    return media_type in (JSON, MULTIPART, URLENCODED) or media_type.endswith("+json")
