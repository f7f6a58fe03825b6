"""Marks an annotation whose value is decoded from a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from potassium.http.file import File

__all__ = ["FromFile"]


@dataclass(frozen=True, slots=True)
class FromFile:
    """How a file becomes a value: ``Annotated[Picture, FromFile(decode, ("image/*",))]``.

    Attributes:
        decode: returns the value; raises ValueError with a reason for clients if it cannot.
        media_types: those that it takes, such as ``image/png`` or ``image/*``.
        from_json: returns the value for one that JSON has, other than a string; raises ValueError
            as ``decode`` does. None if only a string may stand for the file.

    """

    decode: Callable[[File], Any]
    media_types: Sequence[str]
    from_json: Callable[[Any], Any] | None = None
