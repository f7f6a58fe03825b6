"""What a server says about its handlers in its OpenAPI document."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click
import orjson
from click.shell_completion import CompletionItem

from potassium.cli.remote.server import Server
from potassium.client import CallFailed

__all__ = ["Fields", "Schema", "complete_input", "complete_path", "typed"]

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NEST = 16  # references to follow, at most: a schema may contain itself
FORM = "multipart/form-data"
OWN = ("jobs", "server")  # tags of what every app has


class Schema:
    """The OpenAPI document of a server."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    @classmethod
    def of(cls, server: Server, patience: float = 3.0) -> "Schema":
        """Load the document of ``server``; it is empty if the server does not show it."""
        with suppress(CallFailed, ValueError), server.pages(patience) as page:
            document = page("/openapi.json")
            if isinstance(document, dict) and isinstance(document.get("paths"), dict):
                return cls(document)
        return cls({})

    @property
    def paths(self) -> list[str]:
        """The paths of handlers."""
        return [
            path
            for path, methods in self._document.get("paths", {}).items()
            if "post" in methods and not set(methods["post"].get("tags", ())) & {*OWN}
        ]

    def fields(self, path: str) -> "Fields":
        """Return the fields of the input of the handler at ``path``."""
        paths = self._document.get("paths", {})
        operation = (paths.get(path) or paths.get(path.rstrip("/")) or {}).get("post", {})
        content = operation.get("requestBody", {}).get("content", {})
        return Fields(self, [body["schema"] for body in content.values() if "schema" in body])

    def members(self, schema: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
        """Yield the schemas that ``schema`` stands for, through references and unions."""
        if not isinstance(schema, dict) or depth > NEST:
            return
        if reference := schema.get("$ref"):
            found: Any = self._document
            for part in str(reference).removeprefix("#/").split("/"):
                found = found.get(part.replace("~1", "/").replace("~0", "~"), {})
            yield from self.members(found, depth + 1)
        yield schema
        for word in ("anyOf", "oneOf", "allOf"):
            for one in schema.get(word, ()):
                yield from self.members(one, depth + 1)


class Fields:
    """What values may be: those of a field, or of the input as a whole."""

    def __init__(self, schema: Schema, schemas: Sequence[Any]) -> None:
        self._schema = schema
        self._members = [member for one in schemas for member in schema.members(one)]

    def __getitem__(self, name: str) -> "Fields":
        """Return what the field ``name`` may be; nothing is known of one that does not exist."""
        found = [one["properties"][name] for one in self._members if name in _fields(one)]
        return Fields(self._schema, found)

    @property
    def names(self) -> list[str]:
        """The names of the fields."""
        return list(dict.fromkeys(name for one in self._members for name in _fields(one)))

    @property
    def items(self) -> "Fields":
        """What the items of an array may be."""
        return Fields(self._schema, [one["items"] for one in self._members if "items" in one])

    @property
    def kinds(self) -> set[str]:
        """The types that a value may have, as JSON Schema names them; none if it does not say."""
        given = [one.get("type", ()) for one in self._members]
        return {kind for one in given for kind in ([one] if isinstance(one, str) else one)}


def _fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = schema.get("properties", {})
    return fields


def typed(text: str, field: Fields) -> Any:
    """Return ``text`` as the type that its field has; as it is, if it cannot be one.

    The server then says what is wrong with it, in its own words.
    """
    kinds = field.kinds
    if not kinds or "string" in kinds:
        return text
    if "boolean" in kinds and text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    if _kind(value) in kinds or (_kind(value) == "integer" and "number" in kinds):
        return value
    return [typed(text, field.items)] if "array" in kinds else text


def _kind(value: Any) -> str:
    kinds = {
        bool: "boolean",
        int: "integer",
        float: "number",
        list: "array",
        dict: "object",
        type(None): "null",
    }
    return kinds.get(type(value), "string")


def complete_path(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the path of a handler with those of the server."""
    return [CompletionItem(one) for one in _known(ctx).paths if one.startswith(incomplete)]


def complete_input(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a field with those of the handler, and the name of a file."""
    name, equals, _value = incomplete.partition("=")
    if equals or incomplete.startswith("@"):
        return [CompletionItem(incomplete, type="file")] if "@" in incomplete else []
    fields = _known(ctx).fields(ctx.params.get("path") or "/")
    return [CompletionItem(f"{one}=") for one in fields.names if one.startswith(name)]


def _known(ctx: click.Context) -> Schema:
    url = ctx.params.get("url")
    if url is None:
        return Schema({})
    server = Server(url, ctx.params.get("api_key"))
    return Schema.of(server, patience=1.0)
