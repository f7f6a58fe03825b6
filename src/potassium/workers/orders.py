"""How a function that is to be run in workers is named, and found again there."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from potassium.errors import UnserializableOutput, UsageError
from potassium.http.codec import encode

__all__ = ["decode_order", "encode_order"]


def encode_order(
    function: Callable[..., Any], arguments: Mapping[str, Any], main: str | None
) -> bytes:
    """Return what a worker needs to run ``function``; ``main`` is the name of the main module.

    Raises:
        UsageError: the function is not at the top level of a module, or an argument is not JSON.

    """
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", "")
    if not name or "<" in name:
        raise UsageError(
            f"app.broadcast({name or function!r}): workers find the function by its name, so "
            "define it at the top level of a module."
        )
    if module == "__main__" and main is not None:
        module = main
    try:
        return encode([module, name, dict(arguments)])
    except UnserializableOutput as error:
        raise UsageError(
            f"app.broadcast({name}): the arguments cross to other processes as JSON: {error.detail}"
        ) from None


def decode_order(order: bytes) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function and its arguments.

    Raises:
        ImportError: there is no such module.
        AttributeError: it has no such function.

    """
    module, name, arguments = orjson.loads(order)
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found, arguments
