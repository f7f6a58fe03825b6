"""What values that JSON has no type for become in JSON: decided here, for every path alike.

numpy, torch, pandas and pydantic are never imported here, only looked up among the modules that the
app has imported: without them, no value of their classes can exist.
"""

import dataclasses
import enum
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from typing import Any

import orjson

__all__ = ["exact", "plain"]

NATIVE = orjson.OPT_SERIALIZE_NUMPY
LARGEST, SMALLEST = 2**64 - 1, -(2**63)  # integers that orjson can write

# What results of these classes could mean is for the handler to say. The name of the module and of
# the class, and what to do instead.
INSTEAD = {
    ("pandas", "DataFrame"): 'return frame.to_dict("records"), or another form of it',
    ("PIL.Image", "Image"): "save it into an io.BytesIO and return the bytes",
    ("starlette.responses", "Response"): "return a potassium.Response, such as "
    "Response(status=201, json={...})",
    ("potassium.http.response", "Response"): "return it alone, not inside another value",
    ("types", "CoroutineType"): "write async def, and await it",
    ("builtins", "bytes"): "decode them, or return them alone",
    ("collections.abc", "Iterable"): "make it a list",
}


def plain(value: Any) -> Any:  # noqa: C901, PLR0911 - one answer for each kind of value
    """Convert a value that orjson does not support into one that it does.

    Dates that are missing become None. Numbers of numpy keep the digits of their own precision.

    Raises:
        TypeError: JSON has no such value; the message says what to return instead, if known.

    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _array(value.detach().cpu(), torch)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return _of_numpy(value, numpy)
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        try:
            return value.model_dump(mode="json", by_alias=True)
        except pydantic.PydanticUserError:
            raise
        except ValueError:  # pydantic knows nothing of arrays in it; we do
            return value.model_dump(by_alias=True)
    if isinstance(value, date):  # a subclass: of pandas, for example, whose NaT is one
        return value.isoformat() if value == value else None  # noqa: PLR0124 - NaT is not
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if value is pandas.NA:
            return None
        if isinstance(value, pandas.Series | pandas.Index):
            return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet | tuple):
        return list(value)
    name = type(value).__name__
    hint = next((text for where, text in INSTEAD.items() if _is(value, *where)), "")
    raise TypeError(f"{name} is not JSON serializable" + (f"; {hint}" if hint else ""))


def exact(value: Any) -> Any:  # noqa: PLR0911
    """Return ``value`` with what orjson refuses in it written out: long integers, odd keys.

    Raises:
        TypeError: JSON has no such value, or no such key.

    """
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return orjson.Fragment(_digits(value))
    if isinstance(value, dict):
        return {_key(key): exact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [exact(inner) for inner in value]
    if isinstance(value, str | int | float | date | enum.Enum | None):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = (one.name for one in dataclasses.fields(value) if not one.name.startswith("_"))
        return {name: exact(getattr(value, name)) for name in named}
    try:
        orjson.dumps(value, default=plain)
    except TypeError:
        return exact(plain(value))
    return value


def _of_numpy(value: Any, numpy: Any) -> Any:
    dtype = value.dtype
    if dtype.kind == "M":
        if value.ndim:
            return [_of_numpy(one, numpy) for one in value]
        if numpy.isnat(value):
            return None
        value = value.astype("datetime64[us]")[()]
    elif dtype == numpy.longdouble:
        value = value.astype(numpy.float64)  # Python has no number for it
    elif value.ndim and dtype.kind in "biuf":
        value = numpy.ascontiguousarray(value, dtype.newbyteorder("="))
    try:
        return orjson.Fragment(orjson.dumps(value, option=NATIVE))
    except TypeError:  # of a dtype that orjson cannot write
        listed = value.tolist()
        if isinstance(listed, numpy.generic):
            raise TypeError(f"{type(value).__name__} is not JSON serializable") from None
        return listed


def _key(key: Any) -> str:  # noqa: PLR0911
    """Return the text of a key of any scalar type.

    Raises:
        TypeError: it is not a scalar.

    """
    if isinstance(key, str):
        return str(key)
    if isinstance(key, bool) or key is None or isinstance(key, float):
        return orjson.dumps(key).decode()
    if isinstance(key, enum.Enum):
        return _key(key.value)
    if isinstance(key, int):
        return _digits(key).decode()
    if isinstance(key, datetime | date):
        return key.isoformat()
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(key, numpy.generic):
        text = orjson.dumps(_of_numpy(key, numpy)).decode()
        return text.strip('"')
    try:
        return next(iter(orjson.loads(orjson.dumps({key: 0}, option=orjson.OPT_NON_STR_KEYS))))  # type: ignore[no-any-return]
    except TypeError:
        raise TypeError(f"a key of type {type(key).__name__} is not JSON serializable") from None


def _digits(value: int) -> bytes:
    try:
        return b"%d" % value
    except ValueError:  # of thousands of digits, which no parser takes either
        raise TypeError("an integer has too many digits") from None


def _is(value: Any, module: str, name: str) -> bool:
    """Return whether ``value`` is of a class, if its module was imported at all."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def _array(tensor: Any, torch: Any) -> Any:
    """Return a tensor in host memory as a numpy array, or as lists if numpy cannot represent it."""
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    try:
        return tensor.numpy()
    except (RuntimeError, TypeError):
        return tensor.tolist()
