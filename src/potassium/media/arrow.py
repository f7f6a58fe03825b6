"""Arrays in Arrow IPC, read safely from untrusted clients."""

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MOST_BYTES", "decode"]

MOST_BYTES = 2**28  # that compressed buffers may unfold to
START = b"ARROW1\0\0"  # of a file; what follows it is a stream

# Field numbers in the tables of Arrow's metadata, see
# https://github.com/apache/arrow/blob/main/format/Message.fbs
HEADER, BUFFERS, COMPRESSION, BATCH_OF_DICTIONARY = 2, 2, 3, 1
COMPRESSION_OF_V4 = b"ARROW:experimental_compression"  # the same, where Arrow 0.17 has put it


def decode(content: bytes) -> "np.ndarray[Any, Any]":
    """Return the one column of a table in Arrow's stream or file format.

    A column of fixed-size lists, also nested, has as many dimensions more.

    Raises:
        ValueError: it is no such table, or its column holds anything but numbers.

    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - only for apps whose clients send Arrow
    except ImportError as error:
        raise ValueError("This server does not read Arrow") from error

    stream = pa.py_buffer(content).slice(len(START) if content.startswith(START) else 0)
    try:
        _check_unfolded(pa, stream)
        return _only_column(pa, stream)
    except Exception as error:
        if type(error) is ValueError:  # of ours
            raise
        raise ValueError(
            f"The file is no Arrow that can be read ({type(error).__name__})"
        ) from None


def _only_column(pa: Any, stream: Any) -> "np.ndarray[Any, Any]":
    with pa.ipc.open_stream(stream) as reader:
        if len(reader.schema) != 1:
            raise ValueError(f"The table has {len(reader.schema)} columns; send one")
        _check_numbers(pa, reader.schema.types[0])  # others may unfold when they are combined
        table = reader.read_all()
    table.validate(full=True)
    column = table.column(0).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    shape = [len(column)]
    if isinstance(column.type, pa.FixedShapeTensorType):
        shape += column.type.shape
        column = column.storage
        column = column if column.null_count else column.flatten()
    while pa.types.is_fixed_size_list(column.type) and not column.null_count:
        shape.append(column.type.list_size)
        column = column.flatten()
    if column.null_count and not pa.types.is_primitive(column.type):
        raise ValueError("The column has lists that are missing")
    values: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False).reshape(shape)
    if values.dtype.hasobject:
        raise ValueError("The column has truth values that are missing")
    return values if values.flags.writeable else values.copy()


def _check_numbers(pa: Any, kind: Any) -> None:
    """Check that a column holds numbers, or lists of a fixed size of them.

    Raises:
        ValueError: it holds anything else, or tensors that are permuted.

    """
    inner = kind
    if isinstance(kind, pa.FixedShapeTensorType):
        if kind.permutation not in (None, list(range(len(kind.shape)))):
            raise ValueError("The tensors are permuted; send them in order")
        inner = kind.storage_type
    while pa.types.is_fixed_size_list(inner):
        inner = inner.value_type
    is_number = pa.types.is_integer(inner) or pa.types.is_floating(inner)
    if not is_number and not pa.types.is_boolean(inner):
        raise ValueError(f"The column holds {kind}; send numbers")


def _check_unfolded(pa: Any, stream: Any) -> None:
    """Check what the buffers take when unfolded; each begins with its length if it is compressed.

    Raises:
        ValueError: it is more than ``MOST_BYTES``.

    """
    total = 0
    for message in pa.ipc.MessageReader.open_stream(stream):
        metadata = message.metadata.to_pybytes()
        table = _field(metadata, _indirect(metadata, 0), HEADER)
        if table is None or message.type not in ("record batch", "dictionary"):
            continue
        batch: int | None = _indirect(metadata, table)
        if message.type == "dictionary" and batch is not None:
            inner = _field(metadata, batch, BATCH_OF_DICTIONARY)
            batch = None if inner is None else _indirect(metadata, inner)
        if batch is None:
            continue
        if _field(metadata, batch, COMPRESSION) is None and COMPRESSION_OF_V4 not in metadata:
            continue
        buffers = _field(metadata, batch, BUFFERS)
        if buffers is None:
            continue
        first = _indirect(metadata, buffers)
        (count,) = struct.unpack_from("<I", metadata, first)
        for offset, length in struct.iter_unpack(
            "<qq", metadata[first + 4 : first + 4 + 16 * count]
        ):
            if length >= 8:  # noqa: PLR2004 - bytes of the length in front
                total += max(0, struct.unpack_from("<q", message.body, offset)[0])
    if total > MOST_BYTES:
        raise ValueError(f"The table unfolds to more than {MOST_BYTES} bytes")


def _indirect(data: bytes, at: int) -> int:
    """Return the position that the offset at ``at`` points to."""
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: bytes, table: int, number: int) -> int | None:
    """Return the position of a field of a FlatBuffers table, or None if it is not there.

    See https://flatbuffers.dev/internals/.
    """
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    (size,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * number
    offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < size else 0
    return table + int(offset) if offset else None
