"""What values that JSON has no type for become in JSON: decided here, for every path alike.

numpy, torch, pandas and pydantic are never imported here, only looked up among the modules that the
app has imported: without them, no value of their classes can exist.
"""

import dataclasses
import enum
import json
import sys
from collections.abc import Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from typing import Any

import orjson

from potassium.http.representations.files import data_url

__all__ = ["FORM", "exact", "plain"]

FORM = orjson.OPT_UTC_Z  # as pydantic writes dates
NATIVE = orjson.OPT_SERIALIZE_NUMPY
LARGEST_FLOAT = 8  # bytes
LARGEST, SMALLEST = 2**64 - 1, -(2**63)  # integers that orjson can write

# Scalars that mean what they mean in a pydantic model: mostly, their text.
SCALARS = [
    ("collections", "UserString"),
    ("datetime", "timedelta"),
    ("datetime", "time"),
    ("decimal", "Decimal"),
    ("ipaddress", "IPv4Address"),
    ("ipaddress", "IPv6Address"),
    ("ipaddress", "IPv4Network"),
    ("ipaddress", "IPv6Network"),
    ("pandas", "Period"),
    ("pathlib", "PurePath"),
]

# What results of these classes could mean is for the handler to say. The name of the module and of
# the class, and what to do instead.
INSTEAD = {
    ("starlette.responses", "Response"): "return it alone, not inside another value",
    ("potassium.http.response", "Response"): "return it alone, not inside another value",
    ("types", "CoroutineType"): "write async def, and await it",
    ("builtins", "bytes"): "decode them, or return them alone",
    ("builtins", "bytearray"): "decode them, or return them alone",
    ("builtins", "memoryview"): "decode them, or return them alone",
    ("builtins", "complex"): "return [z.real, z.imag]",
    ("collections.abc", "Iterable"): "make it a list",
}


def plain(value: Any) -> Any:  # noqa: C901, PLR0911 - one answer for each kind of value
    """Convert a value that orjson does not support into one that it does.

    Dates that are missing become None. Numbers of numpy keep the digits of their own precision.

    Raises:
        TypeError: JSON has no such value; the message says what to return instead, if known.

    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return _of_numpy(value, numpy)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _array(value, torch)
    if hasattr(type(value), "__pydantic_serializer__"):
        return _of_pydantic(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, date):  # a subclass: of pandas, for example, whose NaT is one
        kind = datetime if isinstance(value, datetime) else date
        return kind.fromisoformat(value.isoformat()) if value == value else None  # noqa: PLR0124
    if isinstance(value, float):  # a subclass
        return float(value)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, (type(pandas.NA), *_columns(pandas))):
        return _of_pandas(value)
    if isinstance(value, Mapping):
        return dict(value)
    if any(_is(value, *where) for where in SCALARS):
        return _scalar(value)
    if isinstance(value, AbstractSet | ValuesView | tuple) or _is_sequence(value):
        return list(value)
    records = _records(value)
    if records is not None:
        return records
    url = data_url(value)
    if url is not None:
        return url
    name = type(value).__name__
    hint = next((text for where, text in INSTEAD.items() if _is(value, *where)), "")
    raise TypeError(f"{name} is not JSON serializable" + (f"; {hint}" if hint else ""))


def exact(value: Any) -> Any:  # noqa: PLR0911
    """Return ``value`` with what orjson refuses in it written out: long integers, odd keys.

    Raises:
        TypeError: JSON has no such value, or no such key.

    """
    if isinstance(value, enum.Enum):
        return exact(value.value)
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return orjson.Fragment(_digits(value))
    if isinstance(value, dict):
        return {_key(key): exact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [exact(inner) for inner in value]
    if isinstance(value, str | int | float | None):
        return value
    if dataclasses.is_dataclass(value):
        return exact(plain(value))
    try:
        return orjson.Fragment(orjson.dumps(value, plain, FORM))
    except TypeError:
        return exact(plain(value))


def _of_numpy(value: Any, numpy: Any) -> Any:
    kind = value.dtype.kind
    if kind != "M":  # orjson writes missing dates as any date, or breaks off
        try:
            return orjson.Fragment(orjson.dumps(value, option=NATIVE))
        except TypeError:  # of a type or a layout that orjson does not know
            pass
    if kind in "Mm":
        return _moments(value, numpy)
    if isinstance(value, numpy.ma.MaskedArray):  # what is masked is missing
        return list(value) if value.ndim else value.tolist()
    if kind == "f" and value.itemsize > LARGEST_FLOAT:
        return value.astype(numpy.float64)  # Python has no number for it
    if kind in "biuf" and not _is_native(value):
        return numpy.ascontiguousarray(value, value.dtype.newbyteorder("=")).reshape(value.shape)
    listed = value.tolist()
    if isinstance(listed, numpy.generic):
        raise TypeError(f"{type(value).__name__} is not JSON serializable")
    return listed


def _is_native(array: Any) -> bool:
    return bool(array.flags.c_contiguous and array.dtype.isnative)


def _moments(value: Any, numpy: Any) -> Any:
    """Return dates or durations as those of Python, to the microsecond, or None for missing ones.

    Dates beyond the years of Python become text.
    """
    if isinstance(value, numpy.ma.MaskedArray):
        value = value.filled(numpy.array("NaT", dtype=value.dtype))
    moments = value.astype(f"{value.dtype.kind}8[us]")
    if value.dtype.kind == "M":
        first, last = (numpy.datetime64(day, "us") for day in ("0001-01-01", "9999-12-31"))
        if ((moments < first) | (moments > last)).any():
            if value.ndim:
                return [_moments(one, numpy) for one in value]
            return str(numpy.datetime_as_string(value, unit="s"))
    return moments.tolist()


def _columns(pandas: Any) -> tuple[type, ...]:
    return (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)


def _of_pandas(value: Any) -> Any:
    """Return a column as a list, in which numbers keep the digits of their own precision."""
    if not hasattr(value, "dtype"):
        return None  # NA
    is_numeric = hasattr(value.dtype, "newbyteorder") and value.dtype.kind in "biuf"
    return value.to_numpy() if is_numeric else value.tolist()


def _records(value: Any) -> list[dict[Any, Any]] | None:
    """Return the rows of a table, by the names of its columns; None if it is not one."""
    is_pandas, is_arrow = _is(value, "pandas", "DataFrame"), _is(value, "pyarrow", "Table")
    names = list(value.columns if is_pandas else value.column_names if is_arrow else ())
    if len(set(names)) < len(names):
        name = type(value).__name__
        raise TypeError(f"{name} is not JSON serializable; its columns need names of their own")
    if is_pandas:
        columns = [_exact_numbers(column) for _, column in value.items()]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if is_arrow:
        return list(value.to_pylist())
    return list(value.to_dicts()) if _is(value, "polars", "DataFrame") else None


def _exact_numbers(column: Any) -> list[Any]:
    """Return a column as a list, in which short numbers are as long as in a column alone."""
    values = _of_pandas(column)
    if isinstance(values, list):
        return values
    is_short = values.dtype.kind == "f" and values.itemsize < LARGEST_FLOAT
    return list(values) if is_short else values.tolist()


def _of_pydantic(value: Any) -> Any:
    """Return a model, or a dataclass of pydantic, by its aliases; we write what it cannot."""
    serializer = type(value).__pydantic_serializer__
    try:
        return serializer.to_python(value, mode="json", by_alias=True, fallback=_in_json_types)
    except (TypeError, ValueError):  # of a value that is not what pydantic takes it for
        return serializer.to_python(value, by_alias=True)


def _in_json_types(value: Any) -> Any:
    return json.loads(orjson.dumps(exact(value), plain, FORM))


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, without private ones, as orjson does."""
    names = (field.name for field in dataclasses.fields(value))
    return {name: getattr(value, name) for name in names if not name.startswith("_")}


def _scalar(value: Any) -> Any:
    import pydantic_core  # noqa: PLC0415 - for few values

    if _is(value, "decimal", "Decimal") and not value.is_finite():
        return None
    return pydantic_core.to_jsonable_python(value, fallback=str)


def _key(key: Any) -> str:
    """Return the text of a key of any scalar type: what would be written for it as a value.

    Raises:
        TypeError: it is not a scalar.

    """
    if isinstance(key, str):
        return str.__str__(key)
    try:
        text = orjson.dumps(exact(key), plain, FORM).decode()
    except TypeError:
        text = "["
    if text.startswith(("[", "{")):
        raise TypeError(f"a key of type {type(key).__name__} is not JSON serializable")
    return str(json.loads(text)) if text.startswith('"') else text


def _digits(value: int) -> bytes:
    try:
        return b"%d" % value
    except ValueError:  # of thousands of digits, which no parser takes either
        raise TypeError("an integer has too many digits") from None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(
        value, str | bytes | bytearray | memoryview
    )


def _is(value: Any, module: str, name: str) -> bool:
    """Return whether ``value`` is of a class, if its module was imported at all."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def _array(tensor: Any, torch: Any) -> Any:
    """Return a tensor as a numpy array, or as lists if numpy cannot represent it."""
    try:
        tensor = tensor.detach().cpu()
        if tensor.is_nested:
            return [_array(one, torch) for one in tensor.unbind()]
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        if tensor.dtype is torch.bfloat16:
            tensor = tensor.float()
    except RuntimeError as error:
        raise TypeError(f"{type(tensor).__name__} is not JSON serializable") from error
    try:
        return tensor.numpy()
    except (RuntimeError, TypeError):
        return tensor.tolist()
