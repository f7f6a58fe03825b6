"""Arrays of numpy and tensors of torch, as files."""

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potassium.errors import UnserializableOutput
from potassium.http.codec import encode
from potassium.http.representations.form import JSON, Form, cannot_be_sent, missing
from potassium.http.representations.tables import ARROW, arrow_stream, pyarrow

__all__ = ["ARRAYS_FORMS", "ARRAY_FORMS", "NamedArrays", "safetensors"]

NPY = "application/x-npy"
SAFETENSORS = "application/safetensors"
ONE = "array"  # the name of an array that has none


@dataclass(frozen=True, slots=True)
class NamedArrays:
    """Several arrays or tensors, by name: what a handler returns as ``dict[str, Array]``."""

    contents: Mapping[str, Any]


def _npy(array: Any) -> bytes:
    array = _of_numpy(array)
    numpy = sys.modules["numpy"]
    dtype = array.dtype
    if dtype.hasobject:
        raise UnserializableOutput("An array of Python objects cannot be sent as .npy.")
    if dtype.names is None and numpy.dtype(dtype.str) != dtype:  # a type that another library adds
        raise UnserializableOutput(f".npy has no {dtype.name}: send it as JSON.")
    head = io.BytesIO()
    try:
        numpy.lib.format.write_array_header_1_0(
            head, numpy.lib.format.header_data_from_array_1_0(array)
        )
        return b"".join((head.getvalue(), array.reshape(-1).view(numpy.uint8)))
    except ValueError as error:  # of a type that has no name there
        raise cannot_be_sent("The array", error) from error


def safetensors(arrays: Mapping[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    """Return arrays and tensors as a safetensors file, with ``metadata`` in its head.

    Raises:
        UnserializableOutput: safetensors has no such array.
        ModuleNotFoundError: it is not installed.

    """
    torch = sys.modules.get("torch")
    save: Callable[..., bytes]
    try:
        from safetensors import SafetensorError  # noqa: PLC0415 - for few apps

        if torch is not None and any(isinstance(one, torch.Tensor) for one in arrays.values()):
            from safetensors.torch import save  # noqa: PLC0415
        else:
            from safetensors.numpy import save  # noqa: PLC0415

            torch = None
    except ImportError as error:
        raise missing("Sending safetensors", "safetensors", "arrays") from error
    try:
        if torch is None:
            return save({name: _of_numpy(one) for name, one in arrays.items()}, metadata)
        named = {name: _of_torch(one, torch) for name, one in arrays.items()}
        if len(named) > 1:  # those that share memory are refused
            named = {name: one.clone() for name, one in named.items()}
        return save(named, metadata)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise cannot_be_sent("The array", error) from error


def _arrow(array: Any) -> bytes:
    """Return a table of one column, whose rows are those of the array."""
    library, array = pyarrow(), _of_numpy(array)
    if not array.ndim:
        raise UnserializableOutput("An array without dimensions cannot be sent as Arrow.")
    try:
        column = library.array(array.reshape(-1))
        for size in reversed(array.shape[1:]):
            column = library.FixedSizeListArray.from_arrays(column, size)
        return arrow_stream(library.table({ONE: column}))
    except (library.ArrowException, ValueError) as error:
        raise cannot_be_sent("The array", error) from error


def _of_numpy(array: Any) -> Any:
    """Return an array or a tensor as an array in C order, of native numbers."""
    torch, numpy = sys.modules.get("torch"), sys.modules["numpy"]
    try:
        if torch is not None and isinstance(array, torch.Tensor):
            if array.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
                name = str(array.dtype).removeprefix("torch.")
                raise UnserializableOutput(f"numpy has no {name}: send it as safetensors.")
            array = _of_torch(array, torch).numpy()
        if isinstance(array, numpy.ma.MaskedArray):
            raise UnserializableOutput("A masked array is sent as JSON only; fill it.")
        return numpy.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    except (TypeError, RuntimeError) as error:
        raise cannot_be_sent("The array", error) from error


def _of_torch(array: Any, torch: Any) -> Any:
    if not isinstance(array, torch.Tensor):
        return torch.from_numpy(_of_numpy(array))
    tensor = array.detach().cpu().resolve_conj().resolve_neg()
    return (tensor if tensor.layout is torch.strided else tensor.to_dense()).contiguous()


ARRAY_FORMS: Sequence[Form] = (
    Form(JSON, encode),
    Form(NPY, _npy),
    Form(SAFETENSORS, lambda array: safetensors({ONE: array})),
    Form(ARROW, _arrow),
)
ARRAYS_FORMS: Sequence[Form] = (
    Form(JSON, lambda arrays: encode(arrays.contents)),
    Form(SAFETENSORS, lambda arrays: safetensors(arrays.contents)),
)
