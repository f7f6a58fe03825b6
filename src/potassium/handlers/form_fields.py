"""What the fields of a form or a query become, before pydantic validates them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potassium.errors import InvalidInput, MalformedJSON, UnsupportedMediaType
from potassium.handlers.file_schemas import as_upload, files_in, takes_files, upload_validator
from potassium.handlers.schema_cost import ARRAYS, OBJECTS
from potassium.handlers.schemas import AROUND, Schema, Schemas, outermost
from potassium.http.codec import decode
from potassium.http.file import FileValidator
from potassium.http.form import Form, form_of, query_of
from potassium.http.message import JSON_WANTED, MULTIPART, URLENCODED, Message
from potassium.http.multipart import Part, can_parse

__all__ = ["FormFields"]

# What takes any text as it is, the empty one too.
TEXT = {"any", "bytes", "custom-error", "function-plain", "json", "str"}

COMPOSED = OBJECTS | ARRAYS | {"call", "dataclass", "model"}  # a call: an older named tuple

JSON = "application/json"
OBJECT = {"type": "dict"}  # of which a field is a part

NOTHING = object()  # what stands for a field that is not filled in

Check = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class _Value:
    """What one value of a field may be.

    Attributes:
        is_file: a file.
        file_types: the content types of files that it takes.
        upload: what makes an ``UploadFile`` of that, if it is one.
        is_bytes: bytes, which may be the content of a file.
        is_text: any text.
        is_json: what can only be told as JSON: an object or an array.
        constants: the values that it is one of, if they are not text.

    """

    is_file: bool
    file_types: Sequence[str]
    upload: FileValidator | None
    is_bytes: bool
    is_text: bool
    is_json: bool
    constants: Sequence[Any]

    @classmethod
    def of(cls, nodes: Sequence[Schema]) -> "_Value":
        kinds = {node["type"] for node in nodes if not takes_files(node)}
        constants = [
            *(one for node in nodes for one in node.get("expected", ())),
            *(one.value for node in nodes for one in node.get("members", ())),
        ]
        return cls(
            is_file=any(takes_files(node) for node in nodes),
            file_types=[kind for file in files_in(nodes) for kind in file.media_types],
            upload=next((made for made in map(upload_validator, nodes) if made), None),
            is_bytes="bytes" in kinds,
            is_text=not kinds.isdisjoint(TEXT),
            is_json=not kinds.isdisjoint(COMPOSED),
            constants=[one for one in constants if not isinstance(one, str)],
        )

    def read(self, sent: str | Part, form: Form, name: str, check: Check) -> Any:
        """Return what was sent as pydantic takes it, or ``NOTHING`` if it is an empty input."""
        takes_file = self.is_file and not self.is_text
        if isinstance(sent, Part) and (takes_file or sent.filename is not None):
            file = form.file(sent)
            is_url = sent.filename is None and file.peek()[:5].lower() == b"data:"
            if not is_url:
                return file.read() if self.is_bytes else as_upload(self.upload, file, name)
        text = form.text(sent)
        if not text and not self.is_text:
            return NOTHING
        if self.is_json and not self.is_text:
            return _parsed(text, name, check)
        for constant in self.constants:
            if text.lower() == str(constant).lower():  # true is True
                return constant
        return as_upload(self.upload, text, name)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field: what it takes, and, if it may be sent several times, what each value may be."""

    value: _Value
    items: _Value | None

    @classmethod
    def of(cls, node: Schema, schemas: Schemas) -> "_Field":
        nodes = list(outermost(node, schemas))
        arrays = [one for one in nodes if one["type"] in ARRAYS - OBJECTS]
        others = [one for one in nodes if one["type"] not in ARRAYS - OBJECTS]
        items = [
            inside
            for array in arrays
            for item in _items(array)
            for inside in outermost(item, schemas)
        ]
        return cls(_Value.of(others), _Value.of(items) if arrays else None)

    @property
    def file_types(self) -> Sequence[str]:
        """The content types of the files that it takes."""
        values = (self.value, self.items)
        return [*dict.fromkeys(kind for one in values if one for kind in one.file_types)]

    @property
    def has_uploads(self) -> bool:
        """Whether an ``UploadFile`` is to be made of what was sent."""
        return any(one is not None and one.upload is not None for one in (self.value, self.items))

    def as_upload(self, sent: Any, name: str) -> Any:
        """Return a value of JSON with its strings as ``UploadFile``, see ``_Value``."""
        if self.items is not None and isinstance(sent, list):
            return [as_upload(self.items.upload, one, name) for one in sent]
        return as_upload(self.value.upload, sent, name)

    def read(self, sent: Sequence[str | Part], form: Form, name: str, check: Check) -> Any:
        """Return the value of a field that was sent at least once."""
        if self.items is None:
            return self.value.read(sent[-1], form, name, check)
        first = sent[0]
        is_text = isinstance(first, str) or (first.filename is None and not self.items.is_file)
        if len(sent) == 1 and is_text and not self.items.is_text:
            text = form.text(first)
            if text.lstrip()[:1] == "[":
                return _parsed(text, name, check)
            sent = [text]
        values = [self.items.read(one, form, name, check) for one in sent]
        given = [value for value in values if value is not NOTHING]
        return given or NOTHING


class FormFields:
    """How a form or a query becomes an object: a model, a dataclass or a typed dict.

    A field that may have several values takes them from fields of the same name; of any other
    field, the last one counts. Objects and arrays within a field are JSON. An empty input counts as
    not filled in, unless it may be text.

    Attributes:
        kind: what it takes, for messages.
        media_types: the content types of the bodies that it takes.

    """

    kind = "form"

    def __init__(self, fields: Mapping[str, Schema], schemas: Schemas) -> None:
        """Take the schemas of the fields, by the names under which they are sent."""
        self._fields = {name: _Field.of(node, schemas) for name, node in fields.items()}
        self._has_files = any(files_in(schemas))
        forms = (URLENCODED.decode(), *((MULTIPART.decode(),) if can_parse() else ()))
        self.media_types = (*reversed(forms), JSON) if self._has_files else (JSON, *forms)

    @classmethod
    def of(cls, schema: Schema) -> "FormFields | None":
        """Return how a form becomes the value of a schema; None if that is not an object."""
        schemas = Schemas(schema)
        fields: dict[str, list[Schema]] = {}
        for node in outermost(schema, schemas):  # several of a union
            for name, field in _fields_of(node):
                fields.setdefault(name, []).append(field)
        unions = {name: {"type": "union", "choices": some} for name, some in fields.items()}
        return cls(unions, schemas) if fields else None

    @property
    def file_types(self) -> Mapping[str, Sequence[str]]:
        """The content types of the files that fields take, by the names of the fields."""
        return {name: types for name, field in self._fields.items() if (types := field.file_types)}

    @property
    def has_uploads(self) -> bool:
        """Whether any field is an ``UploadFile``, which pydantic does not take from JSON."""
        return any(field.has_uploads for field in self._fields.values())

    def as_uploads(self, sent: Any) -> Any:
        """Return a JSON object with its files as ``UploadFile``.

        Raises:
            InvalidInput: one is neither base64 nor a data URL.

        """
        if not isinstance(sent, dict):
            return sent
        return {
            name: self._fields.get(name, UNKNOWN).as_upload(value, name)
            for name, value in sent.items()
        }

    def read(self, message: Message, check: Check) -> dict[str, Any]:
        """Return the fields of the form that the body is, as pydantic takes them.

        Args:
            message: the request.
            check: called with each piece of JSON in the form; raises if it would take too long.

        Raises:
            UnsupportedMediaType: the body is not a form.
            InvalidInput: a field should be JSON, and is not.
            PotassiumError: whatever ``form_of`` raises.

        """
        if message.media_type.decode("latin-1") not in self.media_types:
            raise UnsupportedMediaType(self._wanted(message), self.media_types)
        return self._values(form_of(message), check)

    def read_query(self, message: Message, check: Check) -> dict[str, Any]:
        """Return the fields of the query; as for a form."""
        return self._values(query_of(message), check)

    def _wanted(self, message: Message) -> str:
        if message.media_type == MULTIPART:
            return "This server takes no multipart forms. Send the fields URL-encoded, or as JSON."
        if self._has_files:
            return (
                "Send a multipart form (curl -F name=@FILE), or JSON, in which files are base64 "
                "strings or data URLs, with the header Content-Type: application/json."
            )
        return f"{JSON_WANTED} Forms are taken, too."

    def _values(self, form: Form, check: Check) -> dict[str, Any]:
        values = {
            name: self._fields.get(name, UNKNOWN).read(sent, form, name, check)
            for name, sent in form.fields.items()
        }
        return {name: value for name, value in values.items() if value is not NOTHING}


def _parsed(text: str, name: str, check: Check) -> Any:
    """Return the value of a field that is JSON.

    Raises:
        InvalidInput: it is not.

    """
    body = text.encode()
    try:
        check(body)
        return decode(body)
    except MalformedJSON as error:
        why = error.detail.replace("The body", "The field")
        fault = {"loc": [name], "msg": why, "type": "json_invalid"}
        raise InvalidInput(f"The field should be JSON: {why}", [fault]) from None


def _fields_of(node: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the fields of an object, by each name under which they may be sent."""
    while node["type"] in ("model", "dataclass", *AROUND) and "schema" in node:
        node = node["schema"]
    is_object = node["type"] in ("model-fields", "dataclass-args", "typed-dict")
    fields = node["fields"] if is_object else ()
    named = fields.items() if isinstance(fields, dict) else [(one["name"], one) for one in fields]
    for name, field in named:
        yield name, field
        for alias, is_whole in _aliases(field.get("validation_alias")):
            yield alias, field if is_whole else OBJECT


def _aliases(alias: Any) -> Iterator[tuple[str, bool]]:
    """Yield the names that an alias begins with, and whether the field is all that they name."""
    if not alias:
        return
    is_path = isinstance(alias, list) and not isinstance(alias[0], list)
    for path in [[alias]] if isinstance(alias, str) else [alias] if is_path else alias:
        yield path[0], len(path) == 1


def _items(array: Schema) -> Iterator[Schema]:
    """Yield the schemas of what an array contains."""
    items = array.get("items_schema", {"type": "any"})
    yield from items if isinstance(items, list) else [items]


UNKNOWN = _Field(_Value.of([{"type": "any"}]), None)
