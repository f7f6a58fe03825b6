"""Where files are in a pydantic schema."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from starlette.datastructures import Headers, UploadFile

from potassium.errors import InvalidInput
from potassium.handlers.schemas import Schema
from potassium.http.file import ANY_TYPE, File, FileValidator

__all__ = ["as_upload", "files_in", "takes_files", "upload_of", "upload_validator"]


def takes_files(node: Schema) -> bool:
    """Return whether a schema itself takes files: ``File``, ``FromFile`` or an ``UploadFile``."""
    return any(files_in([node]))


def files_in(schemas: Iterable[Schema]) -> Iterator[FileValidator]:
    """Yield what takes files, and which, among ``schemas``."""
    for node in schemas:
        validator = upload_validator(node)
        if validator is None and node["type"] == "function-plain":
            validator = node["function"]["function"]
        if isinstance(validator, FileValidator):
            yield validator


def upload_validator(node: Schema) -> FileValidator | None:
    """Return what makes an ``UploadFile`` of Starlette, or of FastAPI, if a schema wants one.

    Their schemas take only what is one already.
    """
    kind: Any = None
    if node["type"] == "is-instance":
        kind = node["cls"]
    elif node["type"] == "function-plain":
        kind = getattr(node["function"]["function"], "__self__", None)
    if not (isinstance(kind, type) and issubclass(kind, UploadFile)):
        return None
    return FileValidator(partial(upload_of, kind), (ANY_TYPE,), kind)


def upload_of(kind: type[UploadFile], file: File) -> UploadFile:
    """Return ``file`` as Starlette's class, or one derived from it."""
    headers = Headers({"content-type": file.content_type} if file.content_type else {})
    return kind(file, size=file.size, filename=file.name, headers=headers)  # type: ignore[arg-type] # a file object


def as_upload(validator: FileValidator | None, sent: Any, *loc: str) -> Any:
    """Return what a client sent as the ``UploadFile`` that ``validator`` makes of it, if any.

    Raises:
        InvalidInput: it is text, but neither base64 nor a data URL.

    """
    if validator is None or not isinstance(sent, str | File):
        return sent
    try:
        return validator(sent)
    except ValueError as error:
        fault = {"loc": [*loc], "msg": str(error), "type": "file_encoding"}
        raise InvalidInput("This is not what this handler takes; see errors.", [fault]) from None
