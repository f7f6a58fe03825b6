"""Handlers whose whole input is a file, or a list of files."""

from collections.abc import Sequence
from typing import Any

from potassium.errors import InvalidInput, UnsupportedMediaType
from potassium.handlers.file_schemas import as_upload, files_in, takes_files, upload_validator
from potassium.handlers.schema_cost import ARRAYS
from potassium.handlers.schemas import Schema, Schemas, outermost
from potassium.http.file import ANY_TYPE, File, FileValidator
from potassium.http.form import form_of
from potassium.http.message import MULTIPART, URLENCODED, Message
from potassium.http.multipart import Part

__all__ = ["WholeFile"]

BYTES = "application/octet-stream"
JSON = "application/json"
FORM = MULTIPART.decode()


class WholeFile:
    """Takes the raw body as a file, or the one file of a form; if it takes a list, all of them.

    Attributes:
        kind: what it takes, for messages.
        media_types: the content types of the bodies that it takes.

    """

    kind = "file"

    def __init__(
        self, media_types: Sequence[str], upload: FileValidator | None, *, takes_list: bool
    ) -> None:
        """Take ``upload``, which makes an ``UploadFile`` of a file, if that is wanted."""
        self._upload = upload
        self._own = tuple(dict.fromkeys(media_types))
        self._takes_list = takes_list
        raw = () if takes_list else self._own
        self.media_types = tuple(dict.fromkeys((*raw, FORM, JSON)))

    @classmethod
    def of(cls, schema: Schema) -> "WholeFile | None":
        """Return how files become the value of a schema; None if it takes none as a whole."""
        schemas = Schemas(schema)
        nodes = list(outermost(schema, schemas))
        takes_list = not any(map(takes_files, nodes))
        if takes_list:
            items = [node.get("items_schema") for node in nodes if node["type"] in ARRAYS]
            nodes = [
                node
                for item in items
                if isinstance(item, dict)
                for node in outermost(item, schemas)
            ]
        types = [one for validator in files_in(nodes) for one in validator.media_types]
        if not types:
            return None
        upload = next((made for made in map(upload_validator, nodes) if made), None)
        return cls(types, upload, takes_list=takes_list)

    @property
    def has_uploads(self) -> bool:
        """Whether it becomes an ``UploadFile``, which pydantic does not take from JSON."""
        return self._upload is not None

    def as_uploads(self, sent: Any) -> Any:
        """Return a file, or what stands for one in JSON, as ``UploadFile``; or a list of these.

        Raises:
            InvalidInput: it is neither base64 nor a data URL.

        """
        if isinstance(sent, list):
            return [as_upload(self._upload, one) for one in sent]
        return as_upload(self._upload, sent)

    def read(self, message: Message, check: object = None) -> Any:  # noqa: ARG002 - no JSON in it
        """Return what the client sent, as pydantic takes it.

        Raises:
            UnsupportedMediaType: the body is of a type that the handler does not take.
            InvalidInput: the form has no file, or several although only one is taken.
            PotassiumError: whatever ``form_of`` raises.

        """
        if message.media_type == MULTIPART:
            return self.as_uploads(self._of_form(message))
        sent = message.media_type.decode("latin-1")
        if self._takes_list or not self._takes(sent):
            raise UnsupportedMediaType(self._wanted(), self.media_types)
        content_type = message.content_type.decode("latin-1").strip()
        file = File(message.open(), size=message.size, content_type=content_type)
        return self.as_uploads(file)

    def _of_form(self, message: Message) -> File | list[File]:
        form = form_of(message)
        parts = [one for sent in form.fields.values() for one in sent if isinstance(one, Part)]
        # Some clients name no file, if their users do not.
        named = [part for part in parts if part.filename is not None] or parts
        if self._takes_list:
            return [form.file(part) for part in named]
        if len(named) != 1:
            fault = {"loc": [], "msg": f"The form has {len(named)} files", "type": "file_count"}
            raise InvalidInput("This handler takes one file.", [fault])
        return form.file(named[0])

    def _takes(self, sent: str) -> bool:
        """Return whether a raw body of a media type is taken; one without a type is."""
        if sent == URLENCODED.decode():  # what curl says of every body, unless told otherwise
            return False
        kinds = {ANY_TYPE, sent, f"{sent.partition('/')[0]}/*"}
        return sent in ("", BYTES) or not kinds.isdisjoint(self._own)

    def _wanted(self) -> str:
        form = "a multipart form (curl -F file=@FILE)"
        if self._takes_list:
            return f"Send the files in {form}, or a JSON array of base64 strings or data URLs."
        return (
            "Send the file as the body, with its own Content-Type (curl --data-binary @FILE "
            f"-H 'Content-Type: TYPE'), or in {form}, or as a JSON string: base64 or a data URL."
        )
