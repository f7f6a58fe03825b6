"""Conversion between Python values and JSON in UTF-8."""

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

from potassium.errors import MalformedJSON, UnserializableOutput
from potassium.http.plain_values import FORM, exact, plain

__all__ = ["decode", "encode"]

# Slower: leaves dataclasses to us, as those of pydantic have aliases.
ALIASED = FORM | orjson.OPT_PASSTHROUGH_DATACLASS
# Slower: takes keys that are not strings.
THOROUGH = ALIASED | orjson.OPT_NON_STR_KEYS

# Integers of up to 19 digits may fit into 64 bits; orjson turns longer ones into other numbers.
LONG_INTEGER = b"0" * 19
DIGITS = bytes(ord("0") if chr(byte).isdecimal() else ord(".") for byte in range(128)).ljust(
    256, b"."
)

# What the classes of values raise: of pydantic or Arrow, for example. Other errors are the app's.
FAULTS = (TypeError, ValueError, OverflowError, RecursionError)

DEEPEST = 254  # levels of nesting that orjson can encode
NAME = re.compile(r"[^\W\d]\w{0,63}")  # a key that may be shown; others may be user data


def decode(body: bytes) -> Any:
    """Return the value of a JSON document (RFC 8259) in UTF-8; integers of any size are exact.

    Raises:
        MalformedJSON: ``body`` is not valid JSON. This includes ``NaN`` and ``Infinity``, numbers
            that no double can hold, and more than 1024 levels of nesting.

    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = "The body is empty." if not body else f"The body is not valid JSON: {error}."
        raise MalformedJSON(detail) from None
    if len(body) > len(LONG_INTEGER) and LONG_INTEGER in body.translate(DIGITS):
        return _exactly(body)
    return value


def encode(value: Any) -> bytes:
    """Return ``value`` as a JSON document in UTF-8.

    Beyond the types of JSON, it accepts dataclasses, pydantic models (by alias), datetimes, UUIDs,
    enums, named tuples (as lists), sets, numpy arrays and scalars, pandas Series, and torch tensors
    of any shape (moved to host memory). Keys may be of any scalar type, and integers of any size.
    NaN, the infinities and missing dates become ``null``.

    Raises:
        UnserializableOutput: ``value`` contains anything else, or more than 254 levels of nesting;
            the message says where.

    """
    try:
        return orjson.dumps(
            value, plain, ALIASED if "pydantic.dataclasses" in sys.modules else FORM
        )
    except TypeError:
        pass
    try:
        return orjson.dumps(value, plain, THOROUGH)
    except TypeError:
        pass
    try:
        return orjson.dumps(exact(value), plain, FORM)
    except FAULTS as error:
        path, reason = _culprit(value, error)
        at = f" at {path}" if path else ""
        is_ours = isinstance(reason, TypeError | RecursionError)  # others may quote the value
        why = reason if is_ours else type(reason).__name__
        raise UnserializableOutput(f"The result cannot be sent as JSON{at}: {why}.") from error


def _exactly(body: bytes) -> Any:
    """Return the value of a valid document, by a parser that is slower and knows long integers."""
    try:
        return json.loads(body)
    except RecursionError:  # this parser takes fewer levels
        raise MalformedJSON("The body is nested too deeply for its long integers.") from None


def _culprit(value: Any, error: Exception) -> tuple[str, Exception]:
    """Return the path to the part of ``value`` that raised ``error``, and that part's own error.

    Encodes the parts along the path once more at each level of nesting. The path, such as
    ``outputs[3].score``, shows only names and indices: ``[...]`` stands for any other key.
    """
    path = ""
    if "recursion" in str(error).lower():
        return path, error  # too deep, or a cycle: no single part is to blame
    for _ in range(DEEPEST):
        for step, inner in _parts(value):
            try:
                orjson.dumps(exact(inner), plain, FORM)
            except FAULTS as inner_error:
                path, value, error = path + step, inner, inner_error
                break
        else:
            break
    return path.removeprefix("."), error


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path step and value of each part of ``value``, in encoding order."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if not field.name.startswith("_"):  # orjson omits private fields
                yield f".{field.name}", getattr(value, field.name, None)
        return
    if not isinstance(value, dict | list | tuple):
        with suppress(Exception):  # raised by the value's class, or by torch
            value = plain(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield _step(key), inner
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield f"[{index}]", inner


def _step(key: object) -> str:
    return f".{key}" if isinstance(key, str) and NAME.fullmatch(key) else "[...]"
