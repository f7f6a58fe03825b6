"""Brings the files in a handler's input back to their beginning, before it runs again."""

from typing import Any

from starlette.datastructures import UploadFile

from potassium.http.file import File

__all__ = ["rewind"]


def rewind(argument: Any) -> None:
    """Rewind the open files in ``argument``: in models, dataclasses, lists, tuples and dicts.

    The first run may have read them, before it ran out of memory, or failed because of another
    call in its batch.
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
            if not value.closed:
                value.seek(0)
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            left += value
        elif hasattr(type(value), "model_fields") or hasattr(type(value), "__dataclass_fields__"):
            left += getattr(value, "__dict__", {}).values()
