"""Marks an annotation whose value is decoded from a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_origin

from potassium.http.file import File, FileValidator

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = ["FromFile"]


@dataclass(frozen=True, slots=True)
class FromFile:
    """How a file becomes a value: ``Annotated[Picture, FromFile(decode, ("image/*",))]``.

    It takes all that ``File`` takes. Python code may also give the value itself, if the annotated
    type is a class of which there are no values in JSON.

    Attributes:
        decode: returns the value; raises ValueError with a reason for clients if it cannot.
        media_types: those that it takes, such as ``image/png`` or ``image/*``.
        from_json: returns the value for one that JSON has, other than a string; raises ValueError
            as ``decode`` does. None if only a string may stand for the file.

    """

    decode: Callable[[File], Any]
    media_types: Sequence[str]
    from_json: Callable[[Any], Any] | None = None

    def __get_pydantic_core_schema__(
        self,
        source: Any,
        handler: "GetCoreSchemaHandler",
    ) -> "CoreSchema":
        """Tell pydantic how a file becomes a value."""
        kind = get_origin(source) or source
        known = kind if isinstance(kind, type) else None
        return FileValidator(self.decode, self.media_types, known, self.from_json).core_schema()

    def __get_pydantic_json_schema__(
        self,
        schema: "CoreSchema",
        handler: "GetJsonSchemaHandler",
    ) -> "JsonSchemaValue":
        """Return the schema of the file in JSON."""
        return FileValidator(self.decode, self.media_types, None, self.from_json).json_schema()
