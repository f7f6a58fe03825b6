"""Conversion between Python values and JSON in UTF-8.

numpy, torch and pydantic are never imported here, only looked up among the modules that the app
has imported: without them, no value of their classes can exist.
"""

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

import orjson

from potassium.errors import MalformedJSON, UnserializableOutput

__all__ = ["decode", "encode"]

FAST = orjson.OPT_SERIALIZE_NUMPY
# Slower: takes keys that are not strings, and arrays of any memory layout, as lists.
THOROUGH = orjson.OPT_NON_STR_KEYS

DEEPEST = 254  # levels of nesting that orjson can encode
NAME = re.compile(r"[^\W\d]\w{0,63}")  # a key that may be shown; others may be user data


def decode(body: bytes) -> Any:
    """Return the value of a JSON document (RFC 8259) in UTF-8.

    Raises:
        MalformedJSON: ``body`` is not valid JSON. This includes ``NaN`` and ``Infinity``, numbers
            that no double can hold, and more than 1024 levels of nesting.

    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = "The body is empty." if not body else f"The body is not valid JSON: {error}."
        raise MalformedJSON(detail) from None


def encode(value: Any) -> bytes:
    """Return ``value`` as a JSON document in UTF-8.

    Beyond the types of JSON, it accepts dataclasses, pydantic models, datetimes, UUIDs, enums,
    named tuples, sets, numpy arrays and scalars, and torch tensors of any shape (moved to host
    memory). NaN and the infinities become ``null``.

    Raises:
        UnserializableOutput: ``value`` contains anything else, an integer of more than 64 bits, or
            more than 254 levels of nesting; the message says where.

    """
    try:
        return orjson.dumps(value, _plain, FAST)
    except TypeError:
        pass
    try:
        return orjson.dumps(value, _plain, THOROUGH)
    except TypeError as error:
        path, reason = _culprit(value, error)
        at = f" at {path}" if path else ""
        raise UnserializableOutput(f"The result cannot be sent as JSON{at}: {reason}.") from error


def _culprit(value: Any, error: TypeError) -> tuple[str, TypeError]:
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
                orjson.dumps(inner, _plain, THOROUGH)
            except TypeError as inner_error:
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
            value = _plain(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield _step(key), inner
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield f"[{index}]", inner


def _step(key: object) -> str:
    return f".{key}" if isinstance(key, str) and NAME.fullmatch(key) else "[...]"


def _plain(value: Any) -> Any:
    """Convert a value that orjson does not support into one that it does."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _array(value.detach().cpu(), torch)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        # Not contiguous, or of a dtype that orjson cannot write. Python has no number type for a
        # long double either: its tolist() returns a long double again.
        return float(value) if isinstance(value, numpy.longdouble) else value.tolist()
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def _array(tensor: Any, torch: Any) -> Any:
    """Return a tensor in host memory as a numpy array, or as lists if numpy cannot represent it."""
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    try:
        return tensor.numpy()
    except (RuntimeError, TypeError):
        return tensor.tolist()
