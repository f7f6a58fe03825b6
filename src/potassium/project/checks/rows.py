"""A handler in a line."""

import inspect
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import urlsplit

from potassium.config import Batch
from potassium.handlers.arguments import JsonObject, RawBody, WholeRequest
from potassium.handlers.functions import is_async, name_of
from potassium.handlers.handler import Handler
from potassium.handlers.parameters import UnusableError, parameters_of
from potassium.schema.outputs import output_of

__all__ = ["Row", "row_of"]

NAMES = re.compile(r"\b(?:\w+\.)+(?=\w)")  # of modules, before the names that they have

# Options that the other columns say, or that are said to clients only.
ELSEWHERE = {"methods", "output", "tags", "example", "examples", "deprecated", "prepare", "finish"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A handler in a line.

    Attributes:
        path: the methods that it answers, and its path.
        function: its name.
        runs: where and how.
        takes: what it takes.
        returns: what it returns, or each chunk of a stream; empty if its annotation does not say.
        options: those that are not the default ones.

    """

    path: str
    function: str
    runs: str
    takes: str
    returns: str
    options: str


def row_of(handler: Handler) -> Row:
    """Return the line of a handler."""
    return Row(
        path=f"{' '.join(handler.methods)} {handler.path}",
        function=name_of(handler.function),
        runs=_runs(handler),
        takes=_takes(handler),
        returns=_returns(handler),
        options=", ".join(_options(handler)),
    )


def _runs(handler: Handler) -> str:
    where = "event loop" if is_async(handler.function) else "GPU thread"
    how = "batches" if handler.options.get("batch") else "streams" if handler.yields else ""
    words = ["job," if handler.is_background else "", where, how and f"in {how}"]
    return " ".join(word for word in words if word)


def _takes(handler: Handler) -> str:
    match handler.bind:
        case WholeRequest():
            return "Request"
        case RawBody():
            return "bytes"
        case JsonObject():
            return "JSON object"
    prepare = handler.options.get("prepare")
    function, least = (handler.function, 2) if prepare is None else (prepare, 1)
    try:
        annotation = parameters_of(function, least=least)[-1].annotation
    except UnusableError:  # it was usable when it was decorated
        return ""
    if prepare is None and handler.options.get("batch"):
        annotation = next(iter(get_args(annotation)), annotation)
    return _shown(annotation)


def _returns(handler: Handler) -> str:
    finish = handler.options.get("finish")
    annotation = handler.options.get("output")
    if annotation is None:
        annotation = _returned(handler.function if finish is None else finish)
        if handler.options.get("batch") and finish is None and annotation is not MISSING:
            annotation = next(iter(get_args(annotation)), MISSING)
    if annotation is MISSING:
        return ""
    if output_of(handler).is_stream:
        chunk = next(iter(get_args(annotation)), Any) if _iterates(annotation) else annotation
        return f"stream of {_shown(chunk)}"
    return _shown(annotation)


def _iterates(annotation: Any) -> bool:
    """Return whether an annotation is that of a stream, not of its chunks."""
    kind = get_origin(annotation) or annotation
    return kind in (Iterable, AsyncIterable) or (
        isinstance(kind, type) and issubclass(kind, Iterator | AsyncIterator)
    )


def _returned(function: Callable[..., Any]) -> Any:
    try:
        annotation = inspect.signature(function, eval_str=True).return_annotation
    except Exception:  # noqa: BLE001 - it may be text that only type checkers can read
        return MISSING
    return MISSING if annotation is inspect.Signature.empty else annotation


def _shown(annotation: Any) -> str:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return NAMES.sub("", inspect.formatannotation(annotation))


def _options(handler: Handler) -> list[str]:
    shown = [
        f"{name}={_value(value)}"
        for name, value in handler.options.items()
        if name not in ELSEWHERE and value is not None
    ]
    steps = [
        f"{name}={name_of(step)}"
        for name in ("prepare", "finish")
        if callable(step := handler.options.get(name))
    ]
    # A URL may have a secret in its path.
    host = handler.webhook_url and urlsplit(handler.webhook_url).netloc.rpartition("@")[2]
    return [*shown, *steps, *([f"posts to {host}"] if host else [])]


def _value(value: Any) -> str:
    if not isinstance(value, Batch):
        return name_of(value) if callable(value) else repr(value)
    given = [
        f"{one.name}={_value(getattr(value, one.name))}"
        for one in fields(value)
        if getattr(value, one.name) != one.default or one.name == "max_size"
    ]
    return f"Batch({', '.join(given)})"
