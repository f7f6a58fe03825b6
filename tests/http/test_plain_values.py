"""What values that people really have become in JSON: the same on every path, to the last digit."""

import dataclasses
import enum
import json
import sys
from datetime import UTC, date, datetime
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from support.ids import shown

from potassium.errors import MalformedJSON, UnserializableOutput
from potassium.http.codec import decode, encode

DATES = np.array(["2024-01-01T00:00", "2024-06-01T00:00"], dtype="datetime64[ns]")
FIRST, SECOND = "2024-01-01T00:00:00", "2024-06-01T00:00:00"
LONG = 80241446968629135069  # over 64 bits


class Pair(NamedTuple):
    a: int
    b: int


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Box:
    size: int


class Camel(pydantic.BaseModel):
    box_size: int = pydantic.Field(alias="boxSize")


class Holder(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    vector: np.ndarray
    when: Any = None


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (DATES, [FIRST, SECOND]),
        (DATES[::-1], [SECOND, FIRST]),
        (DATES[::2], [FIRST]),
        (DATES.reshape(2, 1), [[FIRST], [SECOND]]),
        (DATES[0], FIRST),
        (DATES.astype("datetime64[D]"), [FIRST, SECOND]),
        ({1: DATES}, {"1": [FIRST, SECOND]}),
        ({1: DATES[0]}, {"1": FIRST}),
        (np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]"), [FIRST, None]),
        (np.array(["2024-01-01", "NaT"], dtype="datetime64[s]"), [FIRST, None]),
        ({1: np.array(["NaT"], dtype="datetime64[ns]")}, {"1": [None]}),
        (np.ma.array(DATES, mask=[True, False]), [None, SECOND]),
        (np.array(["20000-01-01", "NaT"], dtype="datetime64[D]"), ["20000-01-01T00:00:00", None]),
        (np.datetime64("NaT"), None),
        (np.datetime64("NaT", "ns"), None),
        ([pd.NaT, pd.NA], [None, None]),
        (pd.Timestamp("2024-01-01"), FIRST),
        (datetime(2024, 1, 1, tzinfo=UTC), FIRST + "Z"),
        (pd.Series([1.5, None]), [1.5, None]),
        (pd.Series(pd.to_datetime(["2024-01-01", None])), [FIRST, None]),
    ],
    ids=repr,
)
def test_a_date_is_a_date_whatever_it_is_in(value: Any, right: Any) -> None:
    """Of any layout and unit, beside any key; one that is missing is null."""
    assert json.loads(encode(value)) == right


UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps"]
LAYOUTS = [
    lambda array: array[0],
    lambda array: array,
    lambda array: array[::-1],
    lambda array: array.reshape(1, -1),
    lambda array: array.reshape(-1, 1),
    lambda array: np.array(array[0]),
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_date_is_null_in_any_unit_and_layout(unit: str, layout: Any) -> None:
    """Neither a day in 1970 or 1677, nor a document that breaks off."""
    dates = layout(np.array(["NaT", "NaT"], dtype=f"datetime64[{unit}]"))
    assert json.loads(encode({"dates": dates})) == {"dates": dates.tolist()}


@pytest.mark.parametrize(
    "value",
    [LONG, -LONG, [LONG], {"a": {"b": [LONG]}}, {"a": Box(LONG)}, [np.array([1]), LONG], {1: LONG}],
    ids=repr,
)
def test_a_long_integer_goes_out_exactly(value: Any) -> None:
    """Wherever it stands in the result."""
    assert str(LONG).encode() in encode(value)


@pytest.mark.parametrize(
    "number", [LONG, -LONG, 2**63, 2**64, 10**19, 10**300], ids=lambda n: f"{len(str(n))} digits"
)
def test_a_long_integer_comes_in_exactly(number: int) -> None:
    """It does not become the nearest double."""
    body = b'{"text": "1", "id": [%d]}' % number
    assert decode(body)["id"] == [number]


@pytest.mark.parametrize(
    "body", [b'{"a": %s}' % (b"1" * 5000), b"[" * 1020 + b"1" * 20 + b"]" * 1020]
)
def test_an_integer_beyond_what_a_parser_takes_is_malformed(body: bytes) -> None:
    """One that no double could hold either, or one that is nested very deeply."""
    with pytest.raises(MalformedJSON):
        decode(body)


@pytest.mark.parametrize("body", [b'{"a": 1e400}', b'{"a": NaN, "b": 12345678901234567890}'])
def test_long_digits_let_nothing_else_in(body: bytes) -> None:
    """What is no JSON stays malformed."""
    with pytest.raises(MalformedJSON):
        decode(body)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (1, "1"),
        (LONG, str(LONG)),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (date(2024, 1, 1), "2024-01-01"),
        (Color.RED, "1"),
        (np.int64(3), "3"),
        (np.float32(0.1), "0.1"),
        (np.bool_(True), "true"),
        (np.str_("a"), "a"),
        (np.datetime64("2024-01-01"), FIRST),
        (pd.Timestamp("2024-01-01"), FIRST),
    ],
    ids=repr,
)
def test_a_key_may_be_of_any_scalar_type(key: Any, text: str) -> None:
    """It is written as its value would be."""
    assert json.loads(encode({key: 1})) == {text: 1}


@pytest.mark.parametrize("beside", [{}, {1: 1}, {"n": LONG}], ids=repr)
def test_a_number_of_numpy_keeps_its_digits(beside: dict[Any, Any]) -> None:
    """It is as short as its own precision allows, whatever stands beside it."""
    values = {"a": np.float32(0.1), "b": np.array([0.1], dtype=np.float32), "c": np.float64(0.1)}
    encoded = encode({**values, **beside})
    assert encoded.startswith(b'{"a":0.1,"b":[0.1],"c":0.1')


@pytest.mark.parametrize(
    "layout", [np.asfortranarray, lambda a: a[::-1][::-1], lambda a: a.astype(">f4")]
)
def test_an_array_of_any_layout_keeps_its_digits(layout: Any) -> None:
    """Bytes in another order, or not one behind the other, are the same numbers."""
    array = np.array([[0.1, 0.2], [0.3, 0.4]], dtype=np.float32)
    assert encode(layout(array)) == b"[[0.1,0.2],[0.3,0.4]]"


def test_a_model_goes_out_by_its_aliases() -> None:
    """As its own schema has it."""
    assert encode({"a": [Camel(boxSize=1)]}) == b'{"a":[{"boxSize":1}]}'


def test_a_model_may_hold_arrays() -> None:
    """What pydantic cannot write, we can."""
    holder = Holder(vector=np.array([0.5, 1]), when=DATES[0])
    assert json.loads(encode(holder)) == {"vector": [0.5, 1], "when": FIRST}


def test_a_model_that_holds_arrays_keeps_its_own_way_with_the_rest() -> None:
    """What its fields say about JSON holds beside an array too."""

    class Own(Holder):
        hidden: pydantic.SecretStr
        encoded: pydantic.Base64Bytes
        worded: Annotated[int, pydantic.PlainSerializer(lambda n: f"{n} items", when_used="json")]

    own = Own(vector=np.array([np.float32(0.1)]), hidden="a", encoded=b"YQ==", worded=3)  # type: ignore[arg-type]
    sent = json.loads(encode(own))
    assert sent.pop("encoded").strip() == "YQ=="
    assert sent == {"vector": [0.1], "when": None, "hidden": "*" * 10, "worded": "3 items"}


def test_a_named_tuple_is_a_list_on_every_path() -> None:
    """Alone, and beside keys and numbers that take another path."""
    pair = Pair(1, LONG)
    assert encode({1: pair}) == b'{"1":[1,%d]}' % LONG


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        ("starlette.responses", "Response", "alone"),
        ("potassium.http.response", "Response", "alone"),
    ],
)
def test_a_result_of_no_one_form_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, instead: str
) -> None:
    """The message says what to return instead."""
    if module not in sys.modules:
        fake = ModuleType(module)
        fake.__dict__[name] = type(name, (), {})
        monkeypatch.setitem(sys.modules, module, fake)
    value = getattr(sys.modules[module], name)()
    with pytest.raises(UnserializableOutput, match=instead):
        encode({"a": value})


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (b"a", "decode"),
        (bytearray(b"a"), "decode"),
        (memoryview(b"a"), "decode"),
        ((x for x in "a"), "list"),
        (1j, "z.real"),
        (np.array([1j]), "z.real"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "names of their own"),
        (pa.table([[1], [2]], names=["a", "a"]), "names of their own"),
    ],
    ids=shown,
)
def test_what_is_no_json_only_by_its_form_names_the_form(value: Any, instead: str) -> None:
    """The message says what to make of it."""
    with pytest.raises(UnserializableOutput, match=instead):
        encode({"a": value})


def test_a_call_that_nobody_awaits_is_called_so() -> None:
    """A plain handler that calls an ``async def`` returns no result, but a coroutine."""

    async def result() -> None: ...

    coroutine = result()
    with pytest.raises(UnserializableOutput, match=r"write async def, and await it"):
        encode(coroutine)
    coroutine.close()
