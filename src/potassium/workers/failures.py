"""Exceptions that cross from a worker to the front, as JSON.

What the front does with one that has crossed is what it does with one that was raised in its own
process: the response, the lines on the log with their tracebacks, the codes in metrics and traces.
Nothing is pickled, and no class is imported or called by a name that came from a worker. A class
that the front does not know becomes one of the same name, derived from the nearest base class that
is in ``KINDS``. So ``except potassium.errors.Unavailable`` catches the app's own subclasses too,
but the subclass itself, and attributes of its own, stay in the worker.
"""

import builtins
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypedDict

import orjson
from starlette.exceptions import HTTPException

from potassium import errors
from potassium.errors import MalformedJSON, PotassiumError
from potassium.http import codec
from potassium.workers.tracebacks import Place, places_of, traceback_of

__all__ = ["KINDS", "decode_failure", "encode_failure"]

# Whatever is not one of these, such as SystemExit, becomes an Exception: it must not end the front.
KINDS: Mapping[str, type[Exception]] = {
    **{
        name: kind
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and name == kind.__name__
    },
    **{f"potassium.errors.{name}": getattr(errors, name) for name in errors.__all__},
    "starlette.exceptions.HTTPException": HTTPException,
}
NAMES = {kind: name for name, kind in KINDS.items()}

# What an exception has beside its text. Headers and members of our own classes follow from these.
OURS = (
    *("detail", "status", "code", "closes"),
    *("retry_after", "errors", "accepted", "size", "was_alone", "_media_types"),
)
OF_SYNTAX = ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset")

MOST = 64  # exceptions that led to one another
MOST_NOTES = 100  # of one exception
LONGEST = 64 * 1024  # characters of a text that only the log shows
LAST = LONGEST // 4  # of them, those from its end


PLAIN = (BaseException.__str__, HTTPException.__str__)  # they need no more than what crosses


class Lost:
    """Stands for a value that JSON cannot hold: encoding it fails here, too."""


class Record(TypedDict):
    """One exception on its way; the others that it refers to stand beside it, by number.

    Attributes:
        kind: the nearest of ``KINDS``.
        names: the ``__module__``, ``__name__`` and ``__qualname__`` of its class.
        text: what ``str()`` returns.
        notes: its notes (PEP 678).
        places: its traceback; see ``Place``.
        fields: its attributes that JSON can hold.
        lost: the names of those that it cannot.
        cause: the number of its ``__cause__``.
        context: the number of its ``__context__``.
        hides_context: whether a traceback leaves its context out.
        members: the numbers of those in a group.

    """

    kind: str
    names: list[str]
    text: str
    notes: list[str]
    places: list[list[Any]]
    fields: dict[str, Any]
    lost: list[str]
    cause: int | None
    context: int | None
    hides_context: bool
    members: list[int]


def encode_failure(error: BaseException) -> bytes:
    """Return an exception of any class as JSON, with its causes, contexts, notes and tracebacks.

    The text of an exception that only the log shows is cut to 64 Ki characters: the first 48 and
    the last 16, and how many are missing between them. So are a traceback of more than 200 calls,
    and a chain or group of more than 64 exceptions. What clients are sent is not cut. Never raises,
    whatever the exception's own class does.
    """
    found = [error]
    numbers = {id(error): 0}

    def number(one: BaseException | None) -> int | None:
        if one is not None and id(one) not in numbers and len(found) < MOST:
            numbers[id(one)] = len(found)
            found.append(one)
        return numbers.get(id(one))

    document = [_record(one, number) for one in found]  # which grows meanwhile
    try:
        return orjson.dumps(document)
    except TypeError:  # half of a surrogate pair, an integer of more than 64 bits
        return json.dumps(document).encode()


def decode_failure(data: bytes) -> Exception:
    """Return the exception that ``encode_failure`` has encoded.

    Its ``str()``, its traceback and what led to it are those of the original.

    Raises:
        ValueError: ``data`` is not JSON.

    """
    try:
        records: list[Record] = codec.decode(data)
    except MalformedJSON:  # half of a surrogate pair
        records = json.loads(data)
    made: dict[int | None, Exception] = {}
    for number in range(len(records)):
        _make(number, records, made)
    for number, record in enumerate(records):
        error = made[number]
        error.__cause__ = made.get(record["cause"])
        error.__context__ = made.get(record["context"])
        error.__suppress_context__ = record["hides_context"]
    return made[0]


def _record(error: BaseException, number: Callable[[BaseException | None], int | None]) -> Record:
    kind = _kind_of(error)
    fields, lost = _fields(error, KINDS[kind])
    group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    members = [number(one) for one in group]
    cls = type(error)
    return {
        "kind": kind,
        "names": [str(cls.__module__), cls.__name__, cls.__qualname__],
        "text": _text(error) if "detail" in fields else _cut(_text(error)),
        "notes": _notes(error),
        "places": [list(place) for place in places_of(error.__traceback__)],
        "fields": fields,
        "lost": lost,
        "cause": number(error.__cause__),
        "context": number(error.__context__),
        "hides_context": error.__suppress_context__,
        "members": [one for one in members if one is not None],
    }


def _kind_of(error: BaseException) -> str:
    """Return the nearest of ``KINDS``; ours come first, as they say what clients are sent."""
    if isinstance(error, BaseExceptionGroup):
        return "ExceptionGroup"
    known = [one for one in type(error).__mro__ if one in NAMES]
    ours = [one for one in known if issubclass(one, PotassiumError | HTTPException)]
    return NAMES[next(iter(ours or known), Exception)]


def _is_exactly(kind: type[Exception], names: Sequence[str]) -> bool:
    return [kind.__module__, kind.__qualname__] == [names[0], names[2]]


def _fields(error: BaseException, kind: type[Exception]) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes of ``error`` that cross, and the names of those that cannot."""
    values: dict[str, Any] = {}
    if isinstance(error, PotassiumError):
        values = _values(error, OURS)
        if type(error) is not kind:
            values |= {"_headers": _headers(error), "_members": _members(error)}
    elif isinstance(error, HTTPException):
        detail = error.detail if isinstance(error.detail, dict | list) else _text(error.detail)
        headers = _headers(error) or None
        values = {"status_code": error.status_code, "detail": detail, "headers": headers}
    elif isinstance(error, SyntaxError):
        values = _values(error, OF_SYNTAX)
    fields: dict[str, Any] = {}
    lost: list[str] = []
    for name, value in values.items():
        try:
            fields[name] = value if type(value) is str else codec.decode(codec.encode(value))
        except Exception:  # noqa: BLE001 - of the app's values
            lost.append(name)
    return fields, lost


def _values(error: BaseException, names: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        with suppress(Exception):  # there is none, or it is a property of the app's that raises
            values[name] = getattr(error, name)
    return values


def _headers(error: PotassiumError | HTTPException) -> Any:
    try:
        headers: Any = error.headers or {}
        if isinstance(headers, Mapping):
            return {_text(name): _text(value) for name, value in headers.items()}
        return [[_text(name), _text(value)] for name, value in headers]
    except Exception:  # noqa: BLE001 - of the app's own property
        return {}


def _members(error: PotassiumError) -> Any:
    try:
        return dict(error.members)
    except Exception:  # noqa: BLE001 - as above
        return {}


def _text(value: object) -> str:
    try:
        return str(value)
    except BaseException:  # noqa: BLE001 - of the app's own class, which may raise anything
        return f"<{'exception' if isinstance(value, BaseException) else 'value'} str() failed>"


def _cut(text: str) -> str:
    missing = len(text) - LONGEST
    if missing <= 0:
        return text
    return f"{text[: LONGEST - LAST]}[... {missing} characters left out ...]{text[-LAST:]}"


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)
    return [_cut(_text(one)) for one in notes[:MOST_NOTES]] if isinstance(notes, list) else []


def _make(number: int, records: Sequence[Record], made: dict[int | None, Exception]) -> None:
    """Make an exception, after those in its group: a group cannot be changed later."""
    if number in made:
        return
    record = records[number]
    kind, names, text = KINDS.get(record["kind"], Exception), record["names"], record["text"]
    if issubclass(kind, ExceptionGroup):
        for one in record["members"]:
            _make(one, records, made)
        inner = [made[one] for one in record["members"]]
        derived = _derived(record["kind"] if inner else "Exception", *names)
        error = derived(text, inner)
    elif _is_exactly(kind, names) and kind.__str__ in PLAIN:
        error = kind.__new__(kind, text)
    else:
        derived = _derived(record["kind"], *names)
        error = derived.__new__(derived, text)
    for name, value in record["fields"].items():
        setattr(error, name, value)
    for name in record["lost"]:
        setattr(error, name, Lost())
    if record["notes"]:
        error.__notes__ = record["notes"]
    made[number] = error.with_traceback(traceback_of([Place(*one) for one in record["places"]]))


@lru_cache(maxsize=256)
def _derived(kind: str, module: str, name: str, qualname: str) -> type[Exception]:
    """Return a class of this name, the same one each time: the log counts lines by class."""
    base = KINDS.get(kind, Exception)
    namespace: dict[str, Any] = {
        "__module__": module,
        "__qualname__": qualname,
        "__str__": lambda self: self.args[0],
    }
    if issubclass(base, PotassiumError):
        namespace |= {
            "headers": property(lambda self: self._headers),
            "members": property(lambda self: self._members),
        }
    return type(name, (base,), namespace)
