"""Plain data crosses to a worker as it is, and nothing else does."""

import enum
import re
from collections import OrderedDict, namedtuple
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potassium.workers.plain_data import packed, unpacked

Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - what apps have

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8")), inner)
    ),
    max_leaves=10,
)


class Colour(enum.StrEnum):
    RED = "red"


def crossed(values: Any) -> Any:
    received = orjson.loads(orjson.dumps(packed(values)))
    return {name: unpacked(value) for name, value in received.items()}


def typed(value: Any) -> Any:
    """Return a value with its types, as 1 == 1.0 == True."""
    if isinstance(value, list | tuple):
        return type(value), [typed(one) for one in value]
    if isinstance(value, dict):
        return {name: typed(one) for name, one in value.items()}
    return type(value), value


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), PLAIN))
def test_plain_data_is_the_same_on_the_other_side(values: dict[str, Any]) -> None:
    """With its types, to any depth."""
    assert typed(crossed(values)) == typed(values)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**64,
        "\ud800",
        {1: "a"},
        {"\0": "a"},
        {"a": object()},
        [Pair(1, 2)],
        OrderedDict(a=1),
        Colour.RED,
        {1, 2},
        bytearray(b"a"),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)
def test_what_would_change_on_the_way_stays(value: Any) -> None:
    """The others cross without it."""
    assert crossed({"odd": value, "plain": 1}) == {"plain": 1}


def test_what_is_nested_without_end_stays() -> None:
    """As a list that contains itself."""
    endless: list[Any] = []
    endless.append(endless)
    assert crossed({"endless": endless, "plain": 1}) == {"plain": 1}
