"""JSON schemas of annotations, made by pydantic."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

__all__ = ["ANYTHING", "REFERENCE", "Json", "Use", "adapter_of", "schemas_of"]

Json = dict[str, Any]

# What is validated or serialized, and how: the path of a handler, and pydantic's mode.
Use = tuple[str, Literal["validation", "serialization"]]

ANYTHING: Json = {}
REFERENCE = "#/components/schemas/{model}"

logger = logging.getLogger("potassium")


class _Lenient(GenerateJsonSchema):
    """Makes what JSON Schema cannot express, such as an array of numpy, anything."""

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
    usable = []
    for (path, mode), adapter in adapters.items():
        try:
            adapter.json_schema(mode=mode, schema_generator=_Lenient)
        except Exception as error:  # noqa: BLE001 - the app's types may raise anything
            logger.warning("%s: the schema of its %s is unknown: %s", path, mode, error)
        else:
            usable.append((path, mode, adapter))
    found, shared = TypeAdapter.json_schemas(
        usable, ref_template=REFERENCE, schema_generator=_Lenient
    )
    definitions = shared.get("$defs", {})
    for name, schema in definitions.items():
        if name.endswith(("-Input", "-Output")):  # two views of one type, which are not one title
            schema.pop("title", None)
    return dict(found), definitions
