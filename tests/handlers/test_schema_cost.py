"""How much work a client can make of validation, by the schema."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic
import pytest
from typing_extensions import TypeAliasType

from potassium.handlers.schema_cost import cost_of

FIELDS = 5


def cost(annotation: Any) -> Any:
    return cost_of(pydantic.TypeAdapter(annotation).core_schema)


class Small(pydantic.BaseModel):
    text: str


class Wide(pydantic.BaseModel):
    a: int
    b: int
    c: int
    d: int
    e: int


class Holder(pydantic.BaseModel):
    items: list[Wide | Small]


def test_a_missing_field_is_work_wherever_its_model_is() -> None:
    """An empty object in a list, a dict or a field has as many faults as its model has fields."""
    alone = cost(Wide).container
    assert alone >= FIELDS
    assert cost(list[Wide]).container == cost(dict[str, list[Wide]]).container == alone
    assert cost(list[int]).container < alone


def test_every_member_of_a_union_is_tried() -> None:
    """A value takes the work of all members together, also through a nested model."""
    together = cost(Wide).container + cost(Small).container
    assert cost(Wide | Small).container == together
    assert cost(Holder).container == together
    assert cost(list[int | float | bool]).value == 3 * cost(list[int]).value


def test_unions_in_unions_multiply() -> None:
    """What is in two members of a union is tried once for each, however deep it is."""

    class One(pydantic.BaseModel):
        inner: Wide | Small

    class Two(pydantic.BaseModel):
        inner: Wide | Small

    assert cost(One | Two).container == 2 * cost(Wide | Small).container


class A(pydantic.BaseModel):
    child: "A | B | None" = None


class B(pydantic.BaseModel):
    child: "A | B | None" = None


class Chain(pydantic.BaseModel):
    child: "Chain | None" = None


class TaggedA(pydantic.BaseModel):
    kind: Literal["a"]
    child: 'Annotated[TaggedA | TaggedB, pydantic.Field(discriminator="kind")] | None' = None


class TaggedB(pydantic.BaseModel):
    kind: Literal["b"]
    child: 'Annotated[TaggedA | TaggedB, pydantic.Field(discriminator="kind")] | None' = None


class Branch(pydantic.BaseModel):
    left: "Branch | Leaf"
    right: "Branch | Leaf"


class Leaf(pydantic.BaseModel):
    text: str


class All(pydantic.BaseModel):
    all: "list[All | Some | Leaf]"


class Some(pydantic.BaseModel):
    some: "list[All | Some | Leaf]"


class Renamed(pydantic.BaseModel):
    one: "Renamed | RenamedToo | None" = None


class RenamedToo(pydantic.BaseModel):
    two: "Renamed | RenamedToo | None" = pydantic.Field(None, alias="one")


@dataclass
class Node:
    child: "Node | Other | None" = None


@dataclass
class Other:
    child: "Node | Other | None" = None


class Mapped(pydantic.BaseModel):
    child: "dict[str, Mapped] | Mapped | None" = None


class Lists(pydantic.BaseModel):
    children: "list[Lists] | list[Lists | Leaf]"


Json = TypeAliasType("Json", list["Json"] | dict[str, "Json"] | int | str | None)  # type: ignore[misc]
Nested = TypeAliasType("Nested", list["Nested"] | tuple["Nested", ...] | int)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("annotation", "objects", "arrays"),
    [
        (A, 2, 1),
        (list[A | B], 2, 1),
        (Nested, 1, 2),
        (Node, 2, 1),
        (Renamed, 2, 1),
        (Mapped, 2, 1),
        (Lists, 1, 2),
        (All, 1, 1),
        (Chain, 1, 1),
        (TaggedA, 1, 1),
        (Branch, 1, 1),
        (Json, 1, 1),
        (Wide | Small, 1, 1),
        (pydantic.JsonValue, 1, 1),
    ],
)
def test_work_grows_where_several_members_lead_back(
    annotation: Any, objects: int, arrays: int
) -> None:
    """A union doubles the work of each level if two members contain it again, and take that."""
    found = cost(annotation)
    assert (found.object_growth, found.array_growth) == (objects, arrays)
