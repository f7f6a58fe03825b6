"""Converting between JSON and Python values."""

import dataclasses
import datetime as dt
import enum
import uuid
from collections import OrderedDict, UserDict, UserString
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pydantic
import pytest
import torch
from support.ids import shown

from potassium.errors import MalformedJSON, UnserializableOutput
from potassium.http.codec import decode, encode


@dataclasses.dataclass
class Box:
    label: str
    corners: Any


@dataclasses.dataclass
class Hiding:
    _hidden: Any
    shown: Any


class Item(pydantic.BaseModel):
    at: dt.date
    scores: list[float]


class Pair(NamedTuple):
    first: int
    second: str


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nope",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"1" * 5000,
        b"1e999",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a": 1} {"b": 2}',
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    """Anything but a single JSON document in UTF-8 is refused."""
    with pytest.raises(MalformedJSON):
        decode(body)


def test_an_empty_body_is_called_by_its_name() -> None:
    """The message says that the body is empty, which is the most common mistake."""
    with pytest.raises(MalformedJSON, match="empty"):
        decode(b"")


def test_decodes_json() -> None:
    """A document is decoded to Python values."""
    assert decode('{"a": [1, 2.5, "é", null, true]}'.encode()) == {"a": [1, 2.5, "é", None, True]}


@pytest.mark.parametrize(
    ("value", "document"),
    [
        ({"a": [1, 2.5, "é", None, True]}, '{"a":[1,2.5,"é",null,true]}'),
        ((1, 2), "[1,2]"),
        ({1: "a"}, '{"1":"a"}'),
        ({3}, "[3]"),
        (frozenset(), "[]"),
        (float("nan"), "null"),
        ([float("inf"), -float("inf")], "[null,null]"),
        (Box("cat", [0, 1]), '{"label":"cat","corners":[0,1]}'),
        (Box("cat", np.arange(2)), '{"label":"cat","corners":[0,1]}'),
        (
            Item(at=dt.date(2026, 1, 2), scores=[0.5]),
            '{"at":"2026-01-02","scores":[0.5]}',
        ),
        ([Item(at=dt.date(2026, 1, 2), scores=[])], '[{"at":"2026-01-02","scores":[]}]'),
        (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
        (UserDict(a=1), '{"a":1}'),
        (Color.RED, '"red"'),
        (uuid.UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), '"2026-01-02T00:00:00Z"'),
        (np.float32(1.5), "1.5"),
        (np.int64(3), "3"),
        (np.bool_(True), "true"),
        (np.str_("a"), '"a"'),
        (np.float16(2), "2.0"),
        (np.array(3), "3"),
        (np.array([1, 2], dtype=">i4"), "[1,2]"),
        (np.array(1.5, dtype=">f8"), "1.5"),
        (UserString("a"), '"a"'),
        (PurePosixPath("a/Infinity"), '"a/Infinity"'),
        (PurePosixPath("NaN"), '"NaN"'),
        ([Decimal("sNaN12"), Decimal("NaN1"), Decimal("-Infinity")], "[null,null,null]"),
        ([np.array([1.5], dtype=">f8"), torch.ones(1), np.float32(2)], "[[1.5],[1.0],2.0]"),
        (np.longdouble(0.5), "0.5"),
        (np.array([0.5], dtype=np.longdouble), "[0.5]"),
        (Pair(1, "a"), '[1,"a"]'),
        (np.array(["a", "b"]), '["a","b"]'),
        (np.arange(6).reshape(2, 3), "[[0,1,2],[3,4,5]]"),
        (np.arange(6).reshape(2, 3).T, "[[0,3],[1,4],[2,5]]"),
        (np.array([None, 1], dtype=object), "[null,1]"),
        (np.array([np.nan, 1.0]), "[null,1.0]"),
        (torch.tensor(1.5), "1.5"),
        (torch.arange(6).reshape(2, 3), "[[0,1,2],[3,4,5]]"),
        (torch.arange(6).reshape(2, 3).T, "[[0,3],[1,4],[2,5]]"),
        (torch.tensor([1.5], dtype=torch.bfloat16), "[1.5]"),
        (torch.tensor([1.5], dtype=torch.float16), "[1.5]"),
        (torch.tensor([1.5], dtype=torch.float8_e4m3fn), "[1.5]"),
        (torch.tensor([True, False]), "[true,false]"),
        (torch.ones(1, requires_grad=True), "[1.0]"),
        (torch.eye(2).to_sparse(), "[[1.0,0.0],[0.0,1.0]]"),
        (torch.tensor([float("nan")]), "[null]"),
        (torch.nested.nested_tensor([[1.0], [1.0, 1.0]], layout=torch.jagged), "[[1.0],[1.0,1.0]]"),
        ({"deep": [{"tensor": torch.tensor([1])}]}, '{"deep":[{"tensor":[1]}]}'),
    ],
    ids=repr,
)
def test_encodes_what_handlers_return(value: object, document: str) -> None:
    """Results of every kind are encoded as JSON."""
    assert encode(value).decode() == document


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "object"),
        ({"a": [1, object()]}, "object"),
        (b"raw", "bytes"),
        (1j, "complex"),
        (np.array([1j]), "complex"),
        (torch.tensor([1j]), "complex"),
        (torch.ones(1, device="meta"), "Tensor"),
        pytest.param(10**5000, "too many digits", id="5001 digits"),
        ("\ud800", "UTF-8"),
        ({(1, 2): 3}, "key"),
        ((number for number in [1]), "generator"),
    ],
    ids=shown,
)
def test_what_cannot_be_sent_is_named(value: object, named: str) -> None:
    """The error says what in the result cannot be sent."""
    with pytest.raises(UnserializableOutput, match=named):
        encode(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"outputs": [{}, {}, {}, {"score": 1j, "label": "a"}]}, "outputs[3].score"),
        ([[0, (1, {2: object()})]], "[0][1][1][...]"),
        ({"a b": [object()]}, "[...][0]"),
        ({"a" * 65: object()}, "[...]"),
        ({"a": Box("cat", [0, object()])}, "a.corners[1]"),
        (Hiding(object(), object()), "shown"),
        ({"a": {"b": {(1, 2): 3}}}, "a.b"),
        pytest.param([1, 10**5000], "[1]", id="5001 digits"),
        ({"texts": ["a", "\ud800"]}, "texts[1]"),
        ({"a": UserDict(b=[Pair(1, object())])}, "a.b[0][1]"),  # type: ignore[arg-type]
        ({"a": np.array([[1, object()]], dtype=object)}, "a[0][1]"),
        ({"a": [torch.ones(1), torch.tensor([1j])]}, "a[1]"),
        ({"a": [1, pa.table({"at": pa.array([-(10**9)], pa.date32())})]}, "a[1]"),
    ],
    ids=shown,
)
def test_what_cannot_be_sent_is_found(value: object, path: str) -> None:
    """The error says where in the result the culprit is."""
    with pytest.raises(UnserializableOutput) as caught:
        encode(value)
    assert caught.value.detail.startswith(f"The result cannot be sent as JSON at {path}: ")


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}], ids=shown)
def test_a_culprit_that_is_the_whole_result_has_no_place_in_it(value: object) -> None:
    """If the culprit is the whole result, no location is named."""
    with pytest.raises(UnserializableOutput, match="sent as JSON: "):
        encode(value)


def test_the_culprit_is_the_first_one() -> None:
    """If there are several culprits, the location and the reason are those of the first."""
    with pytest.raises(UnserializableOutput, match=r"at a\[0\]: .*complex"):
        encode({"a": [1j, object()], "b": 2**70})


def test_a_result_that_contains_itself_is_refused() -> None:
    """A cycle is an error, not a hang, and no location is blamed for it."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(UnserializableOutput, match="sent as JSON: "):
        encode(cycle)


def test_values_of_the_user_do_not_appear_in_the_error() -> None:
    """The message names types and locations, never values, nor keys that are not names."""

    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(UnserializableOutput) as caught:
        encode({"key": [{"my hunter2": Secret(), Secret(): "hunter2"}]})
    assert "hunter2" not in str(caught.value)


def test_what_a_class_of_the_user_says_does_not_appear_in_the_error() -> None:
    """Only where it is, and what it raised: the message may quote the value."""

    class Careful(pydantic.BaseModel):
        @pydantic.model_serializer
        def serialized(self) -> str:
            raise ValueError("hunter2")

    with pytest.raises(UnserializableOutput, match=r"at a: PydanticSerializationError\.$"):
        encode({"a": Careful()})
