"""JSON schemas of annotations, made by pydantic."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from potassium.errors import UnserializableOutput
from potassium.handlers.file_schemas import files_in
from potassium.http.codec import decode, encode
from potassium.http.file import FileValidator
from potassium.http.representations.choice import kind_of_class
from potassium.http.representations.form import JSON

__all__ = ["ANYTHING", "REFERENCE", "Json", "Use", "adapter_of", "schemas_of"]

Json = dict[str, Any]

# What is validated or serialized, and how: the path of a handler, and pydantic's mode.
Use = tuple[str, Literal["validation", "serialization"]]

ANYTHING: Json = {}
REFERENCE = "#/components/schemas/{model}"
DATA_URL: Json = {"type": "string", "format": "uri", "pattern": "^data:"}

NOT_JSON: Final = object()

logger = logging.getLogger("potassium")


class _Lenient(GenerateJsonSchema):
    """Makes what JSON Schema cannot express, such as an array of numpy, anything."""

    def generate_inner(self, schema: Any) -> Json:
        """Return the schema of a value; of files, uploads included, as they are sent."""
        file = next(files_in([schema]), None)
        if file is None:
            return super().generate_inner(schema)
        return file.json_schema() if self.mode == "validation" else _sent(file)

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Json:  # noqa: ARG002
        """Return the schema of anything."""
        return dict(ANYTHING)

    def emit_warning(self, kind: str, detail: str) -> None:
        """Say nothing of defaults that are not JSON."""


def adapter_of(annotation: Any) -> TypeAdapter[Any] | None:
    """Return pydantic's view of an annotation, or None if it has none."""
    for config in (None, ConfigDict(arbitrary_types_allowed=True)):
        try:
            return TypeAdapter(annotation, config=config)
        except Exception:  # noqa: BLE001, S112 - the app's types may raise anything
            continue
    return None


def schemas_of(
    adapters: Mapping[Use, TypeAdapter[Any]],
) -> tuple[dict[Use, Json], dict[str, Json]]:
    """Return the schema of each use, and the definitions that they share, by name.

    Whatever has no schema is missing from the former; the log says why.
    """
    try:
        found, shared = _made(adapters)
    except Exception:  # noqa: BLE001 - the app's types may raise anything
        found, shared = _made({use: one for use, one in adapters.items() if _has_schema(use, one)})
    definitions = shared.get("$defs", {})
    for name, schema in definitions.items():
        if name.endswith(("-Input", "-Output")):  # two views of one type, which are not one title
            schema.pop("title", None)
    return _as_json(found), _as_json(definitions)


def _made(adapters: Mapping[Use, TypeAdapter[Any]]) -> tuple[dict[Use, Json], Json]:
    uses = [(path, mode, adapter) for (path, mode), adapter in adapters.items()]
    found, shared = TypeAdapter.json_schemas(
        uses, ref_template=REFERENCE, schema_generator=_Lenient
    )
    return dict(found), shared


def _has_schema(use: Use, adapter: TypeAdapter[Any]) -> bool:
    path, mode = use
    try:
        adapter.json_schema(mode=mode, schema_generator=_Lenient)
    except Exception as error:  # noqa: BLE001 - the app's types may raise anything
        logger.warning("%s: the schema of its %s is unknown: %s", path, mode, error)
        return False
    return True


def _sent(file: FileValidator) -> Json:
    """Return the schema of what a file was decoded to, within JSON."""
    kind = kind_of_class(file.kind)
    if kind is None:
        return dict(ANYTHING)
    return {"type": "array"} if kind.forms[0].media_type == JSON else dict(DATA_URL)


def _as_json(value: Any) -> Any:
    """Return a schema as it is sent, without what is not JSON: a default may be NaN, or any object.

    The keys of the outermost dict may be anything.
    """
    if isinstance(value, dict):
        parts = {name: _as_json(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not NOT_JSON}
    if isinstance(value, list | tuple):
        return [part for part in map(_as_json, value) if part is not NOT_JSON]
    if isinstance(value, float) and not math.isfinite(value):
        return NOT_JSON
    try:
        return decode(encode(value))
    except UnserializableOutput:
        return NOT_JSON
