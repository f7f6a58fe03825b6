"""Finds out what in a cache cannot be pickled, and where it is."""

import io
import pickle
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

from potassium.fastboot import torch_objects
from potassium.fastboot.pickled import reference

__all__ = ["culprit"]

DEEP = 20_000  # frames of Python: a few for each object
OF_MODULES = ("_modules", "_parameters", "_buffers")  # attributes of modules that nobody writes


def culprit(parts: Mapping[str, Any]) -> str | None:
    """Return where the first thing is that cannot be pickled, what it is, and why.

    Args:
        parts: what is pickled, by the name that a path begins with.

    Returns:
        None if all of it can be pickled.

    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, DEEP))
    try:
        for name, part in parts.items():
            pickler = _Follower()
            try:
                pickler.dump(part)
            except Exception as error:  # noqa: BLE001 - whatever a class raises
                return f"{name}{''.join(_path(pickler.way))}: {_what(pickler.way[-1], error)}"
    finally:
        sys.setrecursionlimit(limit)
    return None


class _Follower(pickle._Pickler):  # noqa: SLF001 - the one written in Python
    """Pickles into nothing, and knows the way to where it is.

    Attributes:
        way: what it is in, from the outermost object on.

    """

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), protocol=5, buffer_callback=lambda _: False)
        self.way: list[Any] = []

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:  # noqa: FBT001, FBT002
        """Pickle an object; if that fails, the way to it stays known."""
        self.way.append(obj)
        super().save(obj, save_persistent_id)  # type: ignore[misc]  # typeshed has only the other one
        self.way.pop()

    def persistent_id(self, obj: Any) -> Any:
        """Return what stands for a storage."""
        return None if reference(obj) is None else 0

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle what does not come back as it was otherwise."""
        return torch_objects.reduced(obj)


def _path(way: list[Any]) -> Iterator[str]:
    """Yield the parts of the path to the last object, as they are written in Python."""
    is_inside = is_layer = False  # of an object: its attributes, or arguments; of a torch module
    for outer, inner in pairwise(way):
        if isinstance(outer, dict):
            key = next((key for key, value in outer.items() if value is inner), None)
            is_layers = is_inside and key in OF_MODULES
            if key is not None and not is_layers:
                yield _step(key, is_attribute=is_inside or is_layer)
            is_inside, is_layer = False, is_layers
        elif isinstance(outer, list | tuple):
            at = next((at for at, value in enumerate(outer) if value is inner), None)
            if at is not None and not is_inside:
                yield f"[{at}]"
            is_inside = is_inside and isinstance(inner, dict)
        else:
            is_inside = isinstance(inner, dict | tuple)


def _step(key: Any, *, is_attribute: bool) -> str:
    if is_attribute and isinstance(key, str):
        return f".{key}" if key.isidentifier() else f"[{key}]"
    return f'["{key}"]' if isinstance(key, str) else f"[{key!r}]"


def _what(value: Any, error: Exception) -> str:
    if isinstance(value, FunctionType):
        code = value.__code__
        name = "a lambda" if value.__name__ == "<lambda>" else f"the function {value.__name__}"
        return f"{name} in line {code.co_firstlineno} of {Path(code.co_filename).name}"
    kind = type(value)
    return f"a {kind.__module__}.{kind.__qualname__} ({error})"
