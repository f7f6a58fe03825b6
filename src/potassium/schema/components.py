"""The schemas that a document shares, by name."""

from collections.abc import Mapping

from potassium.schema.annotations import REFERENCE, Json

__all__ = ["Components"]


class Components:
    """Adds our own schemas to those of the app, whose names take precedence.

    Attributes:
        schemas: all of them, by name.

    """

    def __init__(self, definitions: Mapping[str, Json]) -> None:
        self.schemas: dict[str, Json] = {**definitions}
        self._ours: dict[str, str] = {}

    def add(self, name: str, schema: Json) -> Json:
        """Add a schema, unless there is one that wanted the same name; return a reference."""
        if name not in self._ours:
            free = name
            while free in self.schemas:
                free += "_"
            self._ours[name] = free
            self.schemas[free] = schema
        return {"$ref": REFERENCE.format(model=self._ours[name])}

    def added(self, name: str) -> Json:
        """Return the schema that was added as ``name``."""
        return self.schemas[self._ours[name]]

    def resolved(self, schema: Json) -> Json:
        """Return a schema, or the one that it refers to."""
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].removeprefix(REFERENCE.format(model=""))]
        return schema

    def members(self, schema: Json) -> list[Json]:
        """Return the members of a union, without null; of anything else, the schema itself."""
        whole = self.resolved(schema)
        members = whole.get("anyOf") or whole.get("oneOf")
        if members is None:
            return [schema]
        some = [one for member in members for one in self.members(member)]
        return [one for one in some if one.get("type") != "null"]

    def fields(self, schema: Json) -> dict[str, Json]:
        """Return the fields of an object, by name; none of anything else."""
        found: dict[str, Json] = self.resolved(schema).get("properties", {})
        return found

    def objects(self, schema: Json) -> list[Json]:
        """Return the members of a union that have fields; of an object, the object."""
        return [one for one in self.members(schema) if self.fields(one)]
