"""What values become in a store, and back."""

import pickle
from typing import Any

import orjson

from potassium.errors import MalformedJSON, UnserializableOutput, UsageError
from potassium.http.codec import decode, encode
from potassium.store.arrays import is_packed, pack, taken_apart, unpack
from potassium.store.config import Encoding

__all__ = ["from_bytes", "to_bytes"]

# What is JSON already is not looked through for arrays.
ONLY_JSON = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)

OF_RESULTS = ("The result cannot be sent", "it cannot be stored")
OF_ARRAYS = ("The array cannot be sent", "an array cannot be stored")


def to_bytes(value: Any, encoding: Encoding) -> bytes:
    """Return ``value`` as JSON, with the rules for results; with arrays in it, as safetensors.

    Raises:
        UsageError: it has no such form.

    """
    if encoding == "pickle":
        try:
            return pickle.dumps(value)
        except Exception as error:  # whatever its class raises
            raise UsageError(f"store.set(): the value cannot be pickled: {error}") from error
    try:
        return orjson.dumps(value, option=ONLY_JSON)
    except TypeError:
        pass
    try:
        rest, arrays = taken_apart(value)
        return pack(rest, arrays) if arrays else encode(value)
    except UnserializableOutput as error:
        why = error.detail.partition(";")[0].rstrip(".").replace(*OF_RESULTS).replace(*OF_ARRAYS)
        raise UsageError(
            f"store.set(): {why}. A store takes what JSON has, and arrays and tensors of numbers; "
            'encoding="pickle" takes any value, but read what it allows first.'
        ) from error
    except RecursionError:
        raise UsageError(
            "store.set(): the value contains itself, or is nested too deeply."
        ) from None


def from_bytes(data: bytes, encoding: Encoding) -> Any:
    """Return the value that ``to_bytes`` made ``data`` of.

    Raises:
        UsageError: something else has stored it.
        ModuleNotFoundError: it has arrays or tensors, and their library is not installed.

    """
    try:
        if encoding == "pickle":
            return pickle.loads(data)  # noqa: S301 - as the configuration says
        return unpack(data) if is_packed(data) else decode(data)
    except (ModuleNotFoundError, UsageError):
        raise
    except MalformedJSON as error:
        raise _foreign(encoding, error.detail) from None
    except Exception as error:  # whatever unpickling raises, for one
        raise _foreign(encoding, f"{type(error).__name__}: {error}") from error


def _foreign(encoding: Encoding, why: str) -> UsageError:
    return UsageError(
        f"store.get(): what is stored under this key was not written with encoding={encoding!r}, "
        f"or not by a store ({why})"
    )
