"""What is sent: an item as JSON, as it is, or as a form with files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any, Self, TypeAlias

from potassium.errors import UnserializableOutput
from potassium.http.codec import decode, encode

__all__ = ["Body", "File", "Files"]

Content: TypeAlias = str | os.PathLike[str] | IO[bytes] | bytes
File: TypeAlias = Content | tuple[str, Content] | tuple[str, Content, str]
Files: TypeAlias = Mapping[str, File | Sequence[File]]

JSON = "application/json"
BINARY = "application/octet-stream"
RAW = (bytes, bytearray, memoryview)


class Body:
    """The body of a call, which may be sent several times, each time from the start.

    Args:
        item: bytes are sent as they are; None is an empty object; anything else that the server
            can return as JSON can be sent as JSON.
        files: by field name; makes the body a form (``multipart/form-data``) with the members of
            ``item`` as further fields. Text is sent as it is, lists as repeated fields, None not
            at all, and anything else as JSON.
        content_type: of ``item``, if it is not JSON.

    Raises:
        TypeError: ``item`` or a file is none of these.
        OSError: a file cannot be opened.

    Attributes:
        arguments: those of ``httpx.Client.build_request``.
        content_type: to be sent, or None if httpx knows it.
        is_repeatable: whether it can be sent again.

    """

    def __init__(
        self, item: Any, files: Files | None = None, content_type: str | None = None
    ) -> None:
        self._opened = ExitStack()
        self.is_repeatable = True
        self.content_type: str | None = None
        if files:
            if content_type is not None:
                raise TypeError("files= makes the body a form: leave content_type= out.")
            self.arguments = self._form(item, files)
            return
        is_raw = isinstance(item, RAW)
        self.arguments = {"content": bytes(item) if is_raw else _json(item)}
        self.content_type = content_type or (BINARY if is_raw else JSON)

    def __enter__(self) -> Self:
        """Keep the files open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files that were opened here."""
        self._opened.close()

    def _form(self, item: Any, files: Files) -> dict[str, Any]:
        if not isinstance(files, Mapping):
            raise TypeError('Write files={"image": "cat.jpg"}, with the name of each field.')
        fields = decode(_json(item))
        if not isinstance(fields, dict):
            raise TypeError("With files=, the item must be an object: its members become fields.")
        data = {name: texts for name, value in fields.items() if (texts := list(_texts(value)))}
        with ExitStack() as opened:
            parts = [
                (name, self._part(file, opened))
                for name, given in files.items()
                for file in (given if isinstance(given, list) else [given])
            ]
            self._opened = opened.pop_all()
        return {"data": data, "files": parts}

    def _part(self, file: Any, opened: ExitStack) -> Any:
        if isinstance(file, tuple):
            if len(file) not in (2, 3):
                raise TypeError("A tuple of a file has its name, its content and maybe its type.")
            name, content, *kind = file
            return (name, self._content(content, opened), *kind)
        if isinstance(file, RAW):
            return ("upload", bytes(file))
        return self._content(file, opened)

    def _content(self, content: Any, opened: ExitStack) -> Any:
        if isinstance(content, str | os.PathLike):
            return opened.enter_context(open(content, "rb"))  # noqa: PTH123 - also of any PathLike
        if isinstance(content, RAW):
            return bytes(content)
        if not hasattr(content, "read"):
            kind = type(content).__name__
            raise TypeError(f"A file must be a path, a binary file or bytes, not {kind}.")
        if not content.seekable():
            self.is_repeatable = False
        return content


def _json(item: Any) -> bytes:
    try:
        return encode({} if item is None else item)
    except UnserializableOutput as error:
        where = error.detail.partition(" as JSON")[2]
        raise TypeError(f"The item cannot be sent as JSON{where}") from error


def _texts(value: Any) -> Iterator[str]:
    """Yield a form field's texts: one for each element of a list of scalars."""
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, list | dict) for one in values):
        values = [value]
    for one in values:
        if one is not None:
            yield one if isinstance(one, str) else encode(one).decode()
