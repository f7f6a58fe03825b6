"""``potassium.Array``: an array of numpy, as the type of an input or a result."""

import struct
from math import prod
from typing import Annotated, Any

try:
    import numpy as np
except ImportError as error:
    raise ModuleNotFoundError('Arrays need numpy: pip install "potassium[arrays]"') from error

from potassium.http.file import File
from potassium.media import arrow
from potassium.media.from_file import FromFile

__all__ = ["Array", "decode", "from_json"]

NPY = b"\x93NUMPY"
LONGEST_HEAD = 10_000  # bytes of the head of a .npy file, as numpy takes them by default
LONGEST_INDEX = 2**20  # bytes of the head of a safetensors file
DEEPEST = 32  # dimensions
LARGEST_EMPTY = 2**20  # rows of an array without numbers: as a list, each of them takes memory
KINDS = "biufcmMSU"  # of numbers, times and texts: what can be made without running code

TYPES = (
    "application/x-npy",
    "application/safetensors",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.file",
)

Loaded = np.ndarray[Any, Any]


def decode(file: File) -> Loaded:
    """Return the array in ``file``, which begins as .npy, safetensors or Arrow IPC does.

    Nothing is unpickled, and no more memory is taken than the file has bytes, except for Arrow:
    compressed, it may unfold to ``arrow.MOST_BYTES``; truth values take 8 times as much, and so may
    numbers of which some are missing.

    Raises:
        ValueError: it is no such file, it is damaged, or it holds several arrays.

    """
    array = _decoded(file)
    if not array.size and prod(length for length in array.shape if length) > LARGEST_EMPTY:
        raise ValueError(f"The array is empty, but has more than {LARGEST_EMPTY} rows")
    return array


def _decoded(file: File) -> Loaded:
    start = file.read(8)
    file.seek(0)
    if start.startswith(NPY):
        return _of_npy(file)
    if start in (arrow.START, b"") or start.startswith(b"\xff\xff\xff\xff"):
        return arrow.decode(file.read())
    if len(start) == struct.calcsize("<Q") and struct.unpack("<Q", start)[0] <= file.size:
        return _of_safetensors(file)
    raise ValueError("The file is neither .npy nor safetensors nor Arrow IPC")


def from_json(value: Any) -> Loaded:
    """Return the array of nested lists of numbers; null is NaN.

    Raises:
        ValueError: the lists differ in length, or hold anything but numbers.

    """
    try:
        array = np.asarray(value)
        if array.dtype.hasobject and all(
            type(one) in (int, float, type(None)) for one in array.flat
        ):
            array = array.astype(float)
    except (ValueError, OverflowError):
        raise ValueError("The lists do not all have the same length") from None
    if array.dtype.kind not in "biuf" or not isinstance(value, list):
        raise ValueError("An array in JSON is a list of numbers, or of such lists")
    return array


def _of_npy(file: File) -> Loaded:
    form = np.lib.format
    try:
        version = form.read_magic(file)
        read = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}[version]
        shape, in_columns, dtype = read(file, max_header_size=LONGEST_HEAD)
    except Exception:  # noqa: BLE001 - it is parsed as Python, though nothing of it is run
        raise ValueError("The head of the .npy file cannot be read") from None
    if dtype.kind not in KINDS or dtype.hasobject or dtype.itemsize == 0:
        raise ValueError("The .npy file holds objects or records, not numbers")
    size = prod(shape) * dtype.itemsize
    is_right = len(shape) <= DEEPEST and all(type(one) is int and one >= 0 for one in shape)
    if not is_right or size != file.size - file.tell():  # the shape (True,) is none
        raise ValueError("The .npy file has another length than its head says")
    content = np.empty(size, np.uint8)
    file.readinto(content.data)
    array = content.view(dtype).reshape(shape, order="F" if in_columns else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _of_safetensors(file: File) -> Loaded:
    try:
        from safetensors import SafetensorError  # noqa: PLC0415 - only for apps that take it
        from safetensors.numpy import load  # noqa: PLC0415
    except ImportError as error:
        raise ValueError("This server does not read safetensors") from error
    (length,) = struct.unpack("<Q", file.read(8))
    if length > LONGEST_INDEX:
        raise ValueError(f"The head of the safetensors file has more than {LONGEST_INDEX} bytes")
    file.seek(0)
    try:
        arrays = load(file.read())
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        why = type(error).__name__
        raise ValueError(f"The file is no safetensors that numpy can hold ({why})") from None
    if len(arrays) != 1:
        raise ValueError(f"The safetensors file holds {len(arrays)} arrays; send one")
    return next(iter(arrays.values()))


Array = Annotated[Loaded, FromFile(decode, TYPES, from_json)]
