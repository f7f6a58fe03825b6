"""A file that a client has sent."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from starlette.datastructures import UploadFile

from potassium.http.data_url import decoded

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = ["ANY_TYPE", "File", "FileValidator"]

ANY_TYPE = "*/*"
FROM_JSON = (dict, list, str, int, float, bool, type(None))
AHEAD = 8 * 1024  # bytes


class File(io.BufferedIOBase):
    """A file that a client has sent: a binary file object, readable and seekable.

    In the annotation of a handler's input, or of a field of its pydantic model, it takes a file of
    a form, the raw body of a request, or, in JSON, a base64 string or a data URL. Nothing of it is
    copied before it is read. It is open until the call that it belongs to has ended.

    Args:
        content: the content, of which nothing has been read.
        size: its size in bytes; may be left out for bytes.
        name: the name that the client gave. It may contain anything: never use it as a path.
        content_type: the media type that the client gave, which may not be that of the content.

    """

    def __init__(
        self,
        content: BinaryIO | bytes,
        *,
        size: int | None = None,
        name: str = "",
        content_type: str = "",
    ) -> None:
        if isinstance(content, bytes):
            size = len(content)
            content = io.BytesIO(content)
        elif size is None:
            raise TypeError("File(content, size=...): the size of a file object is not known.")
        self._content = content
        self._is_closed = False
        self.size = size
        self.name = name
        self.content_type = content_type

    def __repr__(self) -> str:
        """Show what is known of the file, without its content."""
        return f"File(name={self.name!r}, content_type={self.content_type!r}, size={self.size})"

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, or all that are left."""
        self._check_open()
        return self._content.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, or all that are left."""
        return self.read(size)

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override] # any buffer
        """Read bytes into ``buffer``; return how many."""
        view = memoryview(buffer).cast("B")
        self._check_open()
        if isinstance(self._content, io.BytesIO):
            return self._content.readinto(view)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def peek(self, size: int = 0, /) -> bytes:
        """Return ``size`` bytes or more, if there are as many, and stay at the same position."""
        position = self.tell()
        try:
            return self.read(max(size, AHEAD))  # readline() asks for one
        finally:
            self.seek(position)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to another position; return it."""
        self._check_open()
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        self._check_open()
        return self._content.tell()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._is_closed

    def close(self) -> None:
        """Close it; another call does nothing."""
        self._is_closed = True

    def rewind(self) -> None:
        """Return to the beginning, for somebody else who reads it; open it if it is closed."""
        self._is_closed = False
        self._content.seek(0)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("The file is closed.")

    @classmethod
    def __get_pydantic_core_schema__(
        cls,
        source: Any,
        handler: "GetCoreSchemaHandler",
    ) -> "CoreSchema":
        """Tell pydantic how a value becomes a file."""
        return FileValidator(_as_it_is, (ANY_TYPE,), cls).core_schema()

    @classmethod
    def __get_pydantic_json_schema__(
        cls,
        schema: "CoreSchema",
        handler: "GetJsonSchemaHandler",
    ) -> "JsonSchemaValue":
        """Return the schema of a file in JSON."""
        return FileValidator(_as_it_is, (ANY_TYPE,)).json_schema()


class FileValidator:
    """Turns a file, or text that stands for one, into a value, for pydantic.

    Attributes:
        decode: makes the value of the file; raises ValueError with a reason for clients.
        kind: the class of the value, if it is one.
        is_kept: whether the value is the file itself.
        media_types: those that it takes, such as ``image/png`` or ``image/*``.

    """

    def __init__(
        self,
        decode: Callable[[File], Any],
        media_types: Sequence[str],
        kind: type | None = None,
        from_json: Callable[[Any], Any] | None = None,
    ) -> None:
        """Leave values of ``kind`` as they are: the app itself has made them."""
        self.decode = decode
        self.media_types = media_types
        self.is_kept = kind is not None and issubclass(kind, File | UploadFile)
        self.kind = kind
        self._from_json = from_json

    def __call__(self, value: Any) -> Any:
        """Return what ``value`` is decoded to.

        Raises:
            PydanticCustomError: it is not a file, or cannot be decoded.

        """
        from pydantic_core import PydanticCustomError  # noqa: PLC0415 - only when validating

        if isinstance(value, str):
            try:
                data, media_type = decoded(value)
            except ValueError as error:
                raise PydanticCustomError(
                    "file_encoding", "Input should be a file: {reason}", {"reason": str(error)}
                ) from None
            value = File(data, content_type=media_type)
        elif not isinstance(value, File):
            if self._is_decoded(value):
                return value
            if self._from_json is not None:
                return self._made_by(self._from_json, value, "json_content")
            raise PydanticCustomError(
                "file_type", "Input should be a file: in JSON, a base64 string or a data URL"
            )
        value.rewind()  # another member of a union may have read it
        return self._made_by(self.decode, value, "file_content")

    def _made_by(self, make: Callable[[Any], Any], value: Any, kind: str) -> Any:
        from pydantic_core import PydanticCustomError  # noqa: PLC0415 - as above

        try:
            return make(value)
        except ValueError as error:
            raise PydanticCustomError(
                kind, "The file cannot be read: {reason}", {"reason": str(error)}
            ) from None

    def _is_decoded(self, value: Any) -> bool:
        """Return whether the app has made ``value`` itself: no JSON has such values."""
        kind = self.kind
        return kind is not None and type(value) not in FROM_JSON and isinstance(value, kind)

    def core_schema(self) -> "CoreSchema":
        """Return the schema with which pydantic validates a value by calling this."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only when a schema is built

        return core_schema.no_info_plain_validator_function(self)

    def json_schema(self) -> "JsonSchemaValue":
        """Return the schema of the value in JSON (JSON Schema 2020-12, validation, section 8)."""
        known = [name for name in self.media_types if "*" not in name]
        schema: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
        schema = {**schema, "contentMediaType": known[0]} if known else schema
        if ANY_TYPE not in self.media_types:
            schema["x-potassium"] = {"media_types": [*self.media_types]}
        return schema if self._from_json is None else {"anyOf": [schema, {"type": "array"}]}


def _as_it_is(file: File) -> File:
    return file
