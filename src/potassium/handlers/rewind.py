"""Brings the files in a handler's input back to their beginning, before it runs again."""

from typing import Any

from starlette.datastructures import UploadFile

from potassium.http.file import File

__all__ = ["rewind"]


def rewind(argument: Any) -> None:
    """Rewind the files in ``argument``: in models, dataclasses, lists, tuples and dicts.

    The first run may have read them, or closed them, before it ran out of memory, or failed because
    of another call in its batch.
    """
    left, seen = [argument], set()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, UploadFile):
            value = value.file
        if isinstance(value, File):
            value.rewind()
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            left += value
        elif hasattr(type(value), "model_fields"):
            left += (value.__dict__, getattr(value, "__pydantic_extra__", None))
        elif hasattr(type(value), "__dataclass_fields__"):  # with slots, it has no __dict__
            left += (getattr(value, name, None) for name in type(value).__dataclass_fields__)
