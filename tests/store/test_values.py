"""What values become, and that they come back as what they were."""

import dataclasses
import datetime as dt
import math
import sys
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load
from support.stores import FakeRedis

from potassium import UsageError
from potassium.store import RedisConfig, Store

torch = pytest.importorskip("torch")

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES += ["float16", "float32", "float64", "complex64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_an_array_comes_back_as_it_was(local: Store, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    local.set("key", array)
    found = local.get("key")
    assert type(found) is np.ndarray
    assert (found.dtype, found.shape) == (array.dtype, shape)
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e4m3fn", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_a_tensor_comes_back_as_it_was(local: Store, dtype: str, shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape).to(getattr(torch, dtype))
    local.set("key", tensor)
    found = local.get("key")
    assert type(found) is torch.Tensor
    assert (found.dtype, tuple(found.shape)) == (tensor.dtype, shape)
    assert torch.equal(found.float(), tensor.float())


def test_arrays_and_tensors_come_back_where_they_were(local: Store) -> None:
    """At any depth, also of one memory, also beside keys that look like ours."""
    shared = torch.arange(6.0)
    value: dict[str, Any] = {
        "arrays": [None, {"potassium": "text", "0": np.arange(3, dtype=np.uint32)}],
        "tensors": [shared, shared[:3]],
        "nothing": None,
        "number": 7,
    }
    local.set("key", value)
    found = local.get("key")
    assert found["arrays"][0] is None
    assert found["arrays"][1]["potassium"] == "text"
    assert found["arrays"][1]["0"].dtype == np.uint32
    assert isinstance(found["arrays"][1]["0"], np.ndarray)
    assert [one.tolist() for one in found["tensors"]] == [[0, 1, 2, 3, 4, 5], [0, 1, 2]]
    assert (found["nothing"], found["number"]) == (None, 7)
    found["tensors"][0][0] = 9
    found["arrays"][1]["0"][0] = 9  # all of them can be changed


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3).T,
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(6)[::2],
        np.arange(3, dtype=">i4"),
    ],
    ids=["transposed", "in columns", "every other", "big-endian"],
)
def test_an_array_may_lie_in_memory_in_any_way(local: Store, array: Any) -> None:
    local.set("key", array)
    np.testing.assert_array_equal(local.get("key"), array)


def test_a_tensor_may_have_a_gradient_or_be_sparse(local: Store) -> None:
    tensor = torch.eye(2, requires_grad=True)
    local.set("key", {"weights": tensor, "sparse": torch.eye(2).to_sparse()})
    found = local.get("key")
    assert torch.equal(found["weights"], torch.eye(2))
    assert torch.equal(found["sparse"], torch.eye(2))


def test_arrays_are_stored_as_safetensors(fake_redis: FakeRedis) -> None:
    """So anything else that reads the store can read them."""
    store = Store(config=RedisConfig("127.0.0.1", fake_redis.port))
    store.set("key", {"vector": np.arange(3.0)})
    store.close()
    (array,) = load(fake_redis.values[b"key"][0]).values()
    np.testing.assert_array_equal(array, np.arange(3.0))


@dataclasses.dataclass
class Item:
    name: str
    at: dt.date


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ((1, 2), [1, 2]),
        ({3: "a"}, {"3": "a"}),
        (math.nan, None),
        ({1}, [1]),
        (Item("a", dt.date(2026, 11, 26)), {"name": "a", "at": "2026-11-26"}),
        (np.float32(0.1), 0.1),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00Z"),
    ],
    ids=["tuple", "keys", "nan", "set", "dataclass", "scalar", "datetime"],
)
def test_all_else_becomes_what_it_becomes_in_a_result(
    local: Store, value: Any, becomes: Any
) -> None:
    local.set("key", value)
    assert local.get("key") == becomes


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"bytes", "bytes is not JSON serializable"),
        ({"a": [object()]}, r"at a\[0\]: object is not JSON serializable"),
        ("\ud800", "cannot be stored"),
        (np.array(["text"]), "an array cannot be stored: SafetensorError"),
        (np.array([object()]), "an array cannot be stored"),
        (np.array(["2026-01-01"], "M8[D]"), "an array cannot be stored"),
        (np.ma.masked_array([1, 2], [False, True]), "masked array"),
        (CYCLE, "contains itself, or is nested too deeply"),
    ],
    ids=["bytes", "object", "surrogate", "texts", "objects", "dates", "masked", "cycle"],
)
def test_what_has_no_form_is_refused(local: Store, value: Any, why: str) -> None:
    """The message says where it is; nothing is stored, and the old value stays."""
    local.set("key", 1)
    with pytest.raises(UsageError, match=why):
        local.set("key", value)
    assert local.get("key") == 1


@pytest.mark.parametrize(
    ("library", "value", "command"),
    [
        ("safetensors.numpy", np.arange(2), r'pip install "potassium\[arrays\]"'),
        ("safetensors.torch", torch.arange(2), r'pip install "potassium\[arrays\]"'),
        ("torch", torch.arange(2), "pip install torch"),
    ],
)
def test_a_missing_library_is_named(
    local: Store, monkeypatch: pytest.MonkeyPatch, library: str, value: Any, command: str
) -> None:
    """When an array is read that another process has stored, for one."""
    local.set("key", value)
    monkeypatch.setitem(sys.modules, library, None)
    if library == "torch":
        monkeypatch.delitem(sys.modules, "safetensors.torch", raising=False)
    with pytest.raises(ModuleNotFoundError, match=command):
        local.get("key")


def test_a_value_that_is_json_is_not_searched_for_arrays(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a large one costs no more than its JSON."""
    monkeypatch.setattr("potassium.store.encoding.taken_apart", None)
    local.set("key", {"a": [1, 2.5, "text", None, True]})
    assert local.get("key") == {"a": [1, 2.5, "text", None, True]}
