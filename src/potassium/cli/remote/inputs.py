"""The input of a call as it is typed: ``key=value``, ``key:=JSON``, ``key=@FILE``, ``@FILE``."""

import mimetypes
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx

from potassium.cli.remote.schema import Fields, typed
from potassium.client.body import File
from potassium.errors import MalformedJSON
from potassium.http.codec import decode

__all__ = ["Input", "input_of", "path_and_inputs"]

JSON = "application/json"
HOW = "write key=value, key:=JSON, key=@FILE or @FILE"


@dataclass(kw_only=True)
class Input:
    """What a handler is called with.

    Attributes:
        item: see ``Client.call``.
        files: by field name.
        content_type: of an item that is bytes.
        headers: to be sent with the call.

    """

    item: Any = None
    files: dict[str, list[File]] = field(default_factory=dict)
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def accept(self, kinds: str, headers: Mapping[str, str]) -> None:
        """Send ``headers`` with the call; ask for ``kinds`` unless they say what is accepted."""
        asks = any(name.lower() == "accept" for name in headers)
        self.headers = {**headers} if asks else {"Accept": kinds, **headers}

    @property
    def options(self) -> dict[str, Any]:
        """The options of a call with this input."""
        options: dict[str, Any] = {"headers": self.headers}
        if self.files:
            options["files"] = self.files
        kind = httpx.Headers(self.headers).get("content-type", self.content_type)
        if kind is not None and not self.files:
            options["content_type"] = kind
        return options


def path_and_inputs(path: str | None, inputs: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the path of the handler and its inputs; without a path, it is ``/``.

    Raises:
        click.UsageError: the first of them is neither.

    """
    if path is None or path.startswith("/"):
        return path or "/", inputs
    if "=" in path or path.startswith("@"):
        return "/", (path, *inputs)
    raise click.UsageError(
        f"{path!r} is neither the path of a handler, which begins with /, nor an input: {HOW}."
    )


def _body(text: str) -> Input:
    """Return a whole body: a file (``@FILE``), standard input (``@-``), or the text itself.

    Raises:
        click.UsageError: the file cannot be read.

    """
    if not text.startswith("@"):
        return Input(item=text.encode(), content_type=JSON)
    name = text[1:]
    data = _read(name)
    kind = mimetypes.guess_type(name)[0]
    if kind is None and _is_json(data):
        kind = JSON
    return Input(item=data, content_type=kind)


def input_of(arguments: Sequence[str], data: str | None, fields: Callable[[], Fields]) -> Input:
    """Return the input of a call.

    Args:
        arguments: as typed.
        data: the whole input instead.
        fields: returns those of the handler; called if their types matter.

    Raises:
        click.UsageError: one of the arguments is wrong, or cannot be read.

    """
    whole = [one for one in (*arguments, *([] if data is None else [data])) if one[:1] == "@"]
    if data is not None or whole:
        if len(arguments) + (data is not None) > 1:
            raise click.UsageError(f"{data or whole[0]} is the whole input: leave the others out.")
        return _body(arguments[0] if data is None else data)
    given = Input()
    item: dict[str, Any] = {}
    known: Fields | None = None
    for key, sign, value in map(_split, arguments):
        if sign == "=" and value.startswith("@"):
            given.files.setdefault(key, []).append(_file(value[1:]))
        elif sign == ":=":
            _put(item, key, _json(key, value))
        else:
            known = known or fields()
            at = known[key] if key in known.names else _at(known, key)
            _put(item, key, typed(value, at), known)
    given.item = item or None
    return given


def _split(argument: str) -> tuple[str, str, str]:
    key, equals, value = argument.partition("=")
    sign = ":=" if key.endswith(":") else "="
    key = key.removesuffix(":")
    if not equals or not key:
        raise click.UsageError(f"{argument!r} is not an input: {HOW}.")
    return key, sign, value


def _at(fields: Fields, key: str) -> Fields:
    for name in key.split("."):
        fields = fields[name]
    return fields


def _put(item: dict[str, Any], key: str, value: Any, fields: Fields | None = None) -> None:
    """Put a value where ``key`` says, whose dots lead into objects; repeated, into a list."""
    *outer, name = [key] if fields and key in fields.names else key.split(".")
    for one in outer:
        inner = item.setdefault(one, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"{key}: {one} has a value already, and is no object.")
        item = inner
    if name not in item:
        item[name] = value
        return
    before = item[name] if isinstance(item[name], list) else [item[name]]
    item[name] = [*before, *(value if isinstance(value, list) else [value])]


def _json(key: str, text: str) -> Any:
    data = _read(text[1:]) if text.startswith("@") else text.encode()
    try:
        return decode(data)
    except MalformedJSON as error:
        raise click.UsageError(
            f"{key}:={text} is not JSON. Text needs quotes of its own, {key}:='\"text\"', or "
            f"{key}=text. ({error.detail})"
        ) from None


def _is_json(data: bytes) -> bool:
    try:
        decode(data)
    except MalformedJSON:
        return False
    return True


def _file(name: str) -> File:
    if name == "-":
        return "stdin", _read(name)
    if not Path(name).is_file():
        raise click.UsageError(f"There is no file {name}.")
    return name


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}.") from None
