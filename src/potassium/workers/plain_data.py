"""Plain data that crosses to a worker beside a call: JSON values, and tuples and bytes."""

from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from types import NoneType
from typing import Any

import orjson

__all__ = ["packed", "unpacked"]

SCALARS = (str, bool, int, NoneType)
TAG = "\0"  # the only key of an object that stands for a tuple or for bytes


def packed(values: Mapping[Any, Any]) -> dict[str, orjson.Fragment]:
    """Return those of some named values that are plain data, each as JSON.

    These are str, bool, int of up to 64 bits, finite float, None, bytes, and lists, tuples and
    dicts of them whose keys are str. Instances of subclasses are not: they would come out as
    something else.
    """
    crossing = {}
    for name, value in values.items():
        if type(name) is str:
            with suppress(TypeError, RecursionError):
                crossing[name] = orjson.Fragment(orjson.dumps(_tagged(value)))
    return crossing


def unpacked(value: Any) -> Any:
    """Return the value that was packed, from its JSON."""
    kind = type(value)
    if kind is list:
        return [unpacked(one) for one in value]
    if kind is not dict:
        return value
    if TAG not in value:
        return {name: unpacked(one) for name, one in value.items()}
    inner = value[TAG]
    return inner.encode("latin-1") if type(inner) is str else tuple(unpacked(inner))


def _tagged(value: Any) -> Any:
    """Return a value as JSON has it.

    Raises:
        TypeError: it is not plain data.

    """
    kind = type(value)
    if kind in SCALARS or (kind is float and isfinite(value)):
        return value
    if kind is list:
        return [_tagged(one) for one in value]
    if kind is dict and TAG not in value and all(type(name) is str for name in value):
        return {name: _tagged(one) for name, one in value.items()}
    if kind is tuple:
        return {TAG: [_tagged(one) for one in value]}
    if kind is bytes:
        return {TAG: value.decode("latin-1")}
    raise TypeError(kind)
