"""Values with arrays of numpy or tensors of torch in them, as safetensors.

The file has an array for each, and what is around them as JSON in its metadata, so it can be read
by whatever reads safetensors.
"""

import sys
from typing import Any

import orjson

from potassium.http.codec import decode, encode
from potassium.http.representations.arrays import safetensors
from potassium.http.representations.form import missing

__all__ = ["is_packed", "pack", "taken_apart", "unpack"]

AROUND = "potassium"  # of the metadata: the JSON around the arrays

Path = tuple[str | int, ...]
Arrays = dict[Path, Any]


def taken_apart(value: Any) -> tuple[Any, Arrays]:
    """Return ``value`` with None in place of each array, and the arrays by their paths.

    They are found in dicts with text as keys, in lists and in tuples, at any depth.
    """
    kinds = tuple(
        getattr(sys.modules[module], name)
        for module, name in (("numpy", "ndarray"), ("torch", "Tensor"))
        if module in sys.modules
    )
    arrays: Arrays = {}
    return (_without(value, kinds, (), arrays) if kinds else value), arrays


def pack(around: Any, arrays: Arrays) -> bytes:
    """Return a safetensors file.

    Raises:
        UnserializableOutput: there is no JSON for what is around the arrays, or safetensors has no
            such array.
        ModuleNotFoundError: safetensors is not installed.

    """
    places = [[list(path), _library(array)] for path, array in arrays.items()]
    metadata = encode({"value": around, "arrays": places}).decode()
    named = {str(number): array for number, array in enumerate(arrays.values())}
    return safetensors(named, {AROUND: metadata})


def is_packed(data: bytes) -> bool:
    """Return whether ``data`` is a safetensors file; JSON has no zero byte."""
    return data[7:8] == b"\0"  # the file begins with the length of its head, in 8 bytes


def unpack(data: bytes) -> Any:
    """Return the value that was packed; tensors are on the CPU.

    Raises:
        ModuleNotFoundError: safetensors, numpy or torch is not installed.
        Exception: ``data`` is something else.

    """
    head = orjson.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    packed = decode(head["__metadata__"][AROUND].encode())
    value, places = packed["value"], packed["arrays"]
    loaded = _loaded(data, {library for _, library in places})
    for number, (path, library) in enumerate(places):
        array = loaded[str(number)]
        if library == "numpy" and type(array).__module__ == "torch":
            array = array.numpy()
        value = _put(value, path, array)
    return value


def _without(value: Any, kinds: tuple[type, ...], path: Path, arrays: Arrays) -> Any:
    if isinstance(value, kinds):
        arrays[path] = value
        return None
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _without(one, kinds, (*path, key), arrays) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without(one, kinds, (*path, index), arrays) for index, one in enumerate(value)]
    return value


def _library(array: Any) -> str:
    torch = sys.modules.get("torch")
    return "torch" if torch is not None and isinstance(array, torch.Tensor) else "numpy"


def _loaded(data: bytes, libraries: set[str]) -> dict[str, Any]:
    """Return the arrays of a file; if any of them was a tensor, all as tensors."""
    try:
        if "torch" in libraries:
            from safetensors.torch import load as load_tensors  # noqa: PLC0415 - for few apps

            return load_tensors(data)
        from safetensors.numpy import load  # noqa: PLC0415

        return load(data)
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise ModuleNotFoundError("The store holds a tensor: pip install torch") from error
        raise missing("Reading arrays from the store", "safetensors", "arrays") from error


def _put(value: Any, path: list[str | int], array: Any) -> Any:
    """Put an array in its place; return the value, which is the array itself if it was alone."""
    if not path:
        return array
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = array
    return value
