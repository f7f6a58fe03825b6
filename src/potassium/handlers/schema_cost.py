"""How much work a client can make of validation, determined once from a pydantic schema."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from potassium.handlers.schemas import Schema, Schemas, inner
from potassium.http.json_cost import JsonCost

__all__ = ["ARRAYS", "OBJECTS", "cost_of"]

Own = Callable[[Schema], int | None]

OBJECTS = {"arguments", "counter", "dataclass-args", "dict", "frozendict", "model-fields"}
OBJECTS |= {"named-tuple", "ordered-dict", "typed-dict"}
ARRAYS = {"deque", "frozenset", "generator", "list", "named-tuple", "set", "tuple"}

# Units of JsonCost. To report a fault takes several times as long as a valid value, and each field
# that is missing is a fault. Of what calls Python functions, the event loop gets its turns.
VALUE = 2
DEAR = {"complex": 4, "decimal": 4, "multi-host-url": 12, "url": 12, "uuid": 4}
CONTAINER = 6
FIELD = 3

# How an object or an array leads to what it contains, other than by a name.
ANY_KEY, ITEM = object(), object()

# Bytes of memory.
INSTANCE = 500  # of a model
SLOT = 28


def cost_of(schema: Schema) -> JsonCost:
    """Return what it takes to validate documents with a schema."""
    survey = _Survey(schema)
    objects, arrays = survey.growth()
    fields = max((len(_parts(node)) for node in survey.schemas), default=0)
    return JsonCost(
        value=survey.worst(schema, _value),
        container=survey.worst(schema, _container),
        object_growth=objects,
        array_growth=arrays,
        object_memory=INSTANCE + SLOT * fields,
    )


class _Survey:
    """Looks for the value that takes the most work, wherever in a document it may be."""

    def __init__(self, schema: Schema) -> None:
        self.schemas = Schemas(schema)
        self._worst: dict[tuple[int, Own], int] = {}

    def worst(self, node: Schema, own: Own) -> int:
        """Return the most work that one value takes, at ``node`` or anywhere below it.

        Each member of a union tries the same value, and so do all unions around it.
        """
        node = self.schemas.resolved(node)
        key = id(node), own
        if key not in self._worst:
            self._worst[key] = 0  # while it is being looked at: it may contain itself
            below = [self.worst(part, own) for part in inner(node)]
            total = sum(below) if node["type"] == "union" else max(below, default=0)
            self._worst[key] = max(self._here(node, own, set()), total)
        return self._worst[key]

    def _here(self, node: Schema, own: Own, around: set[int]) -> int:
        node = self.schemas.resolved(node)
        if id(node) in around:
            return 0
        work = own(node)
        if work is not None:
            return work
        works = [self._here(part, own, around | {id(node)}) for part in inner(node)]
        return sum(works) if node["type"] == "union" else max(works, default=VALUE)

    def growth(self) -> tuple[int, int]:
        """Return how many times as often objects, and arrays, are tried at each level of nesting.

        That is the number of members of a union that lead to the same union again, from the same
        key of an object or from an array.
        """
        objects = arrays = 1
        for union in self.schemas:
            members = inner(union) if union["type"] == "union" else []
            again = [member for member in members if self._leads_to(member, union)]
            if len(again) > 1:
                ways = Counter(way for member in again for way in self._ways_back(member, union))
                arrays = max(arrays, ways.pop(ITEM, 0))
                objects = max(objects, ways.pop(ANY_KEY, 0) + max(ways.values(), default=0))
        return objects, arrays

    def _ways_back(self, member: Schema, union: Schema) -> set[object]:
        """Return the keys under which a member of a union contains the union, or ``ITEM``."""
        ways: set[object] = set()
        for node in self._containers(member):
            named = list(_named_parts(node))
            for names, part in named or [((ANY_KEY,), part) for part in inner(node)]:
                if self._leads_to(part, union):
                    ways.update(names if node["type"] in OBJECTS else ())
                    ways.update([ITEM] if node["type"] in ARRAYS else ())
        return ways

    def _containers(self, node: Schema) -> Iterator[Schema]:
        """Yield the schemas of arrays and objects of which a value may be validated with one."""
        seen, left = set(), [node]
        while left:
            node = self.schemas.resolved(left.pop())
            if node["type"] in OBJECTS | ARRAYS:
                yield node
            elif id(node) not in seen:
                seen.add(id(node))
                left += inner(node)

    def _leads_to(self, node: Schema, wanted: Schema) -> bool:
        seen, left = set(), [node]
        while left:
            node = self.schemas.resolved(left.pop())
            if node is wanted:
                return True
            if id(node) not in seen:
                seen.add(id(node))
                left += inner(node)
        return False


def _container(node: Schema) -> int | None:
    """Return the work for an array or object that is validated with a schema of such."""
    if node["type"] in OBJECTS | ARRAYS:
        return CONTAINER + FIELD * len(_parts(node))
    return None


def _value(node: Schema) -> int | None:
    """Return the work for any other value, or None if that depends on the schemas within."""
    if node["type"] in OBJECTS | ARRAYS:
        return VALUE
    return DEAR.get(node["type"])


def _parts(node: Schema) -> Any:
    """Return the fields of an object, or the items of a tuple, that are faults if missing."""
    if node["type"] == "tuple":
        return node["items_schema"]
    fields = node.get("fields", ())
    return fields if isinstance(fields, dict | list) and node["type"] in OBJECTS else ()


def _named_parts(node: Schema) -> Iterator[tuple[Iterable[object], Schema]]:
    """Yield the fields of an object, each with the keys that it may have."""
    fields = _parts(node) if node["type"] in OBJECTS else ()
    pairs = (
        fields.items() if isinstance(fields, dict) else [(one.get("name"), one) for one in fields]
    )
    for name, field in pairs:
        alias = field.get("validation_alias")
        yield {name, alias if isinstance(alias, str) else name}, field
