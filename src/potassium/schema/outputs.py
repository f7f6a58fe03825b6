"""What a handler returns, read from its annotations."""

import inspect
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter
from starlette.responses import Response as StarletteResponse

from potassium.handlers.handler import Handler
from potassium.handlers.step import Step
from potassium.http.representations.arrays import ARRAY_FORMS, NamedArrays
from potassium.http.representations.choice import kind_of_class
from potassium.http.representations.form import JSON
from potassium.http.response import Response
from potassium.schema.annotations import adapter_of

__all__ = ["Kind", "Output", "output_of"]

STREAMS = (Iterator, Generator, AsyncIterator, AsyncGenerator)
CHUNKS = (*STREAMS, Iterable, AsyncIterable)  # of generator functions
LISTS = (list, Sequence)

MISSING = inspect.Signature.empty


class Kind(Enum):
    """How a value is sent."""

    UNKNOWN = "unknown"  # perhaps by a Response, with any status
    JSON = "json"
    TEXT = "text"  # as JSON; in a stream, whatever is text is sent as it is
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one call of a handler is answered with.

    Attributes:
        kind: how it is sent; if it streams, how each chunk is.
        is_stream: whether it is a stream.
        adapter: pydantic's view of the value or the chunk; None if that may be anything.
        media_types: the content types that the annotation names, other than the usual ones.

    """

    kind: Kind
    is_stream: bool = False
    adapter: TypeAdapter[Any] | None = None
    media_types: Sequence[str] = ()


def output_of(handler: Handler) -> Output:
    """Return what a call of ``handler`` is answered with.

    That is what ``output=`` says, otherwise the return annotation: of the ``finish`` step, if
    there is one, and of a batched handler, that of the items in the list.
    """
    given, finish = handler.options.get("output"), handler.options.get("finish")
    annotation = given
    if given is None:
        annotation = _returned(handler.function if finish is None else finish)
        if handler.options.get("batch") is not None and finish is None:
            annotation = _argument(annotation) if _origin(annotation) in LISTS else MISSING
    if _origin(annotation) in (CHUNKS if handler.yields else STREAMS):
        return _output(_sent_of(_argument(annotation)), is_stream=True)
    if handler.yields:  # output= says what one chunk is
        return _output(MISSING if given is None else given, is_stream=True)
    return _output(annotation, is_stream=False)


def _sent_of(annotation: Any) -> Any:
    """Return what is sent of the items that a generator yields: a ``Step`` is not."""
    members = _members(annotation) or [annotation]
    sent = [member for member in members if _origin(member) is not Step]
    if len(sent) == len(members):
        return annotation
    return Union[tuple(sent)] if sent else MISSING  # noqa: UP007 - of any number


def _output(annotation: Any, *, is_stream: bool) -> Output:
    kind = _kind(annotation)
    forms = [] if kind is Kind.UNKNOWN else _forms_of(annotation)
    if is_stream and forms[:1] == [JSON]:
        forms = []  # a chunk has only its default form
    adapter = adapter_of(annotation) if forms or kind in (Kind.JSON, Kind.TEXT) else None
    kind = Kind.BYTES if forms else kind
    return Output(kind=kind, is_stream=is_stream, adapter=adapter, media_types=forms)


def _kind(annotation: Any) -> Kind:
    # A handler that returns None pushes its chunks, as a rule.
    if annotation in (MISSING, Any, object, None, type(None)) or isinstance(annotation, TypeVar):
        return Kind.UNKNOWN
    some = [_kind(member) for member in _members(annotation) if member is not types.NoneType]
    if Kind.UNKNOWN in some or Kind.BYTES in some:
        return Kind.UNKNOWN
    plain = _plain(annotation)
    if not isinstance(plain, type):
        values = get_args(plain) if get_origin(plain) is Literal else ()
        is_text = Kind.TEXT in some or any(isinstance(value, str) for value in values)
        return Kind.TEXT if is_text else Kind.JSON
    if issubclass(plain, Response | StarletteResponse | Iterator) or _origin(plain) in CHUNKS:
        return Kind.UNKNOWN
    if issubclass(plain, bytes | bytearray | memoryview):
        return Kind.BYTES
    return Kind.TEXT if issubclass(plain, str) else Kind.JSON


def _forms_of(annotation: Any) -> list[str]:
    """Return the content types of what has several forms; not JSON, if it is not the first one.

    Generators of clients take JSON if it is there, but clients get the first form.
    """
    members = [_forms_of(member) for member in _members(annotation)]
    if any(members):  # what has no forms is sent as JSON
        return list(dict.fromkeys(name for forms in members for name in forms or [JSON]))
    plain = _plain(annotation)
    kind = kind_of_class(NamedArrays if _is_of_arrays(plain) else _origin(plain))
    names = [] if kind is None else [form.media_type for form in kind.forms]
    return names if names[:1] == [JSON] else [name for name in names if name != JSON]


def _is_of_arrays(annotation: Any) -> bool:
    """Return whether an annotation is ``dict[str, Array]``."""
    if get_origin(annotation) is not dict:
        return False
    kind = kind_of_class(_origin(_plain(get_args(annotation)[1])))
    return kind is not None and kind.forms is ARRAY_FORMS


def _members(annotation: Any) -> Sequence[Any]:
    """Return the members of a union; none if it is not one."""
    plain = _plain(annotation)
    return get_args(plain) if _origin(plain) in (Union, types.UnionType) else ()


def _plain(annotation: Any) -> Any:
    """Return an annotation without its metadata."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _returned(function: Callable[..., Any]) -> Any:
    try:
        return inspect.signature(function, eval_str=True).return_annotation
    except Exception:  # noqa: BLE001 - it may be text that only type checkers can read
        return MISSING


def _origin(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _argument(annotation: Any) -> Any:
    return next(iter(get_args(annotation)), MISSING)
