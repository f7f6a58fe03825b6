"""Which files and which JSON become arrays, and which are refused before they take memory."""

import io
import json
import pickle
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy

from potassium.http.file import File
from potassium.media import arrow
from potassium.media.array import decode, from_json

ROWS = np.arange(6, dtype="float32").reshape(2, 3)


def file(content: bytes) -> File:
    return File(io.BytesIO(content), size=len(content))


ROWS_OF_BATCH = 12_345
PAIRS = pa.list_(pa.float32(), 2)


def tensor(size: int) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4]}}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_of(head: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = head.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + content


def stream(*columns: Any, options: Any = None, rows: int = 2) -> bytes:
    table = pa.table(dict(zip("abc", columns, strict=False)))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write_batch(batch)
    return sink.getvalue()


def of_rows(rows: int, column: Any) -> bytes:
    """Return two batches of ``ROWS_OF_BATCH`` rows, of which each says that it has ``rows``."""
    content, right = (
        stream(pa.chunked_array([column] * 2), rows=ROWS_OF_BATCH),
        struct.pack("<q", ROWS_OF_BATCH),
    )
    assert content.count(right) >= 4
    return content.replace(right, struct.pack("<q", rows))


def compressed(*columns: Any) -> bytes:
    return stream(*columns, options=pa.ipc.IpcWriteOptions(compression="zstd"))


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        np.asfortranarray(ROWS),
        ROWS.astype(">f8"),
        np.array(5),
        np.empty((0, 3)),
        np.array([1j]),
        np.array(["2024", "NaT"], "datetime64[s]"),
        np.array(["a", "bc"]),
        np.zeros(70000, bool),
    ],
    ids=str,
)
def test_an_npy_file_is_decoded(array: Any) -> None:
    """Of any layout; what comes can be written to, and is of the machine's own byte order."""
    got = decode(file(npy(array)))
    assert got.dtype == array.dtype.newbyteorder("=")
    assert got.shape == array.shape
    assert np.array_equal(got, array, equal_nan=got.dtype.kind in "fmM")
    assert got.flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY",
        npy_of("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps([1])),
        npy_of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", bytes(4)),
        npy_of("{'descr': '|V4', 'fortran_order': False, 'shape': (1,)}", bytes(4)),
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", bytes(4)),
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"),
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}", bytes(4)),
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", bytes(4)),
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1,) + (1,)}", bytes(4)),
        npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}", bytes(4)),
        npy_of("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,)}"),
        npy_of(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 33}}}", bytes(4)),
        npy_of("{'descr': '<f4'" + " " * 20_000 + ", 'fortran_order': False, 'shape': (1,)}"),
        npy_of("__import__('os')"),
        npy_of("(" * 9000),
        npy_of("{}", version=b"\x09\x09"),
        npy(ROWS)[:60],
        npy(ROWS)[:-1],
    ],
)  # fmt: skip
def test_an_npy_file_that_is_not_what_it_says_is_refused(content: bytes) -> None:
    """Objects are never unpickled; a shape takes no memory that the file does not have."""
    with pytest.raises(ValueError, match=r"\.npy file"):
        decode(file(content))


def test_a_safetensors_file_of_one_array_is_decoded() -> None:
    """Whatever its name is."""
    assert np.array_equal(decode(file(safetensors.numpy.save({"x": ROWS}))), ROWS)


def safetensors_of(head: dict[str, Any], content: bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (safetensors.numpy.save({"a": ROWS, "b": ROWS}), "holds 2 arrays"),
        (safetensors_of({}), "holds 0 arrays"),
        (safetensors_of(tensor(9), bytes(4)), "safetensors"),
        (safetensors_of(tensor(2**62)), "safetensors"),
        (safetensors_of({"a": 5}), "safetensors"),
        (struct.pack("<Q", 2**20 + 1) + bytes(2**20 + 1), "more than 1048576 bytes"),
        (struct.pack("<Q", 2**60) + b"{}", "neither"),
        (b"abcdefghijk", "neither"),
        (b"abc", "neither"),
        (b'{"a": 1}', "neither"),
        (b"PK\x03\x04abcdefgh", "neither"),
    ],
)  # fmt: skip
def test_what_holds_no_one_array_is_refused(content: bytes, why: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=why):
        decode(file(content))


@pytest.mark.parametrize(
    "content",
    [
        npy(np.empty((0, 2**30), "int8")),
        npy(np.empty((2**10, 0, 2**11), "int8")),
        safetensors_of({"a": {"dtype": "U8", "shape": [2**30, 0], "data_offsets": [0, 0]}}),
        of_rows(2**30, pa.array([[]] * ROWS_OF_BATCH, pa.list_(pa.int8(), 0))),
    ],
    ids=["npy", "npy of 3 dimensions", "safetensors", "arrow"],
)
def test_an_array_of_nothing_is_not_long(content: bytes) -> None:
    """Its rows would take memory that the file does not have, for example as lists."""
    with pytest.raises(ValueError, match=r"empty, but has more than 1048576 rows"):
        decode(file(content))


@pytest.mark.parametrize("write", [stream, compressed])
@pytest.mark.parametrize(
    ("column", "right"),
    [
        (pa.array([1, 2, 3], "int16"), [1, 2, 3]),
        (pa.array([0.5, None]), [0.5, np.nan]),
        (pa.array([True, False]), [True, False]),
        (pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], PAIRS), [[1, 2], [3, 4], [5, 6]]),
        (
            pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12).reshape(3, 2, 2)),
            np.arange(12).reshape(3, 2, 2),
        ),
        (pa.array([], "float32"), []),
    ],
    ids=str,
)  # fmt: skip
def test_a_column_of_arrow_is_decoded(write: Any, column: Any, right: Any) -> None:
    """Of one batch or several, compressed or not; lists of a fixed size are dimensions."""
    got = decode(file(write(column)))
    assert np.array_equal(got, right, equal_nan=got.dtype.kind == "f")
    assert got.flags.writeable


def test_an_arrow_file_is_decoded() -> None:
    """The format with a footer, as well as the stream."""
    table = pa.table({"a": [1, 2]})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write(table)
    assert decode(file(sink.getvalue())).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (stream(pa.array([1]), pa.array([2])), "2 columns"),
        (stream(pa.array(["a"])), "holds string"),
        (stream(pa.array([None])), "holds null"),
        (stream(pa.array([[1], [2, 3]])), "holds list"),
        (stream(pa.array(["a"]).dictionary_encode()), "holds dictionary"),
        (stream(pa.array([[1.0], None], pa.list_(pa.float64(), 1))), "lists that are missing"),
        (stream(pa.array([True, None])), "missing"),
        (stream(pa.array([1, 2]))[:-40], "no Arrow"),
        (b"ARROW1\0\0", "no Arrow"),
        (b"", "no Arrow"),
        (b"\xff\xff\xff\xff" + bytes(20), "no Arrow|0 columns"),
        (stream(pa.array([1.0])).replace(b"\1\0\0\0a", b"\1\0\0\0\xff"), "no Arrow"),
        (
            of_rows(2**40, pa.RunEndEncodedArray.from_arrays([ROWS_OF_BATCH], [1.0])),
            "holds run_end",
        ),
        (of_rows(ROWS_OF_BATCH + 100, pa.array([True] * ROWS_OF_BATCH)), "no Arrow"),
        (of_rows(2**62, pa.array([[]] * ROWS_OF_BATCH, pa.list_(pa.int8(), 0))), "no Arrow"),
    ],
)
def test_what_is_no_column_of_numbers_is_refused(content: bytes, why: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=why):
        decode(file(content))


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
@pytest.mark.parametrize(
    "column",
    [pa.array(np.zeros(100_000)), pa.array(["a" * 100_000] * 2).dictionary_encode()],
    ids=["batch", "dictionary"],
)
def test_a_table_that_unfolds_to_too_much_is_refused(
    monkeypatch: pytest.MonkeyPatch, column: Any, kind: str
) -> None:
    """Before anything of it is decompressed."""
    content = stream(column, options=pa.ipc.IpcWriteOptions(compression=kind))
    monkeypatch.setattr(arrow, "MOST_BYTES", 90_000)
    monkeypatch.setattr(pa.ipc, "open_stream", None)
    with pytest.raises(ValueError, match=r"unfolds to more than 90000 bytes"):
        decode(file(content))


def without_compression_field(content: bytes) -> bytes:
    """Return a table of which the first batch says nowhere but in ``custom_metadata`` what it is.

    That is how Arrow 0.17 wrote it.
    """
    (schema,) = struct.unpack_from("<i", content, 4)
    at = 8 + schema + 8
    batch = arrow._indirect(content, arrow._field(content, arrow._indirect(content, at), 2) or 0)
    vtable = batch - struct.unpack_from("<i", content, batch)[0]
    slot = vtable + 4 + 2 * arrow.COMPRESSION
    return content[:slot] + bytes(2) + content[slot + 2 :]


def test_no_table_hides_what_it_unfolds_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a codec that is named as it was before Arrow 1.0, nor by a negative length."""
    options = pa.ipc.IpcWriteOptions(compression="zstd", metadata_version=pa.ipc.MetadataVersion.V4)
    batch = pa.record_batch({"a": pa.array(np.zeros(100_000))})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "ZSTD"})
    old = without_compression_field(sink.getvalue())
    assert decode(file(old)).shape == (100_000,)

    options = pa.ipc.IpcWriteOptions(compression="zstd")
    two = stream(*[pa.array(np.zeros(100_000))] * 2, options=options, rows=100_000)
    length = struct.pack("<q", 100_000 * 8)
    assert two.count(length) == 2
    negative = two.replace(length, struct.pack("<q", -(2**40)), 1)

    monkeypatch.setattr(arrow, "MOST_BYTES", 90_000)
    for content in (old, negative):
        with pytest.raises(ValueError, match=r"unfolds"):
            decode(file(content))


def test_no_damage_to_arrow_is_worse_than_a_refusal() -> None:
    """Whichever bits are flipped, the file is refused or is an array."""
    content = bytearray(compressed(pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))))
    arrays = 0
    for position in range(0, len(content), 3):
        content[position] ^= 0x55
        with suppress(ValueError):
            decode(file(bytes(content)))
            arrays += 1
        content[position] ^= 0x55
    assert 0 < arrays < len(content) / 3


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1, 2], [3, 4]], "int64"),
        ([1.5, 2], "float64"),
        ([1, None], "float64"),
        ([True], "bool"),
        ([[[]]], "float64"),
    ],
)
def test_lists_in_json_are_decoded(value: Any, dtype: str) -> None:
    """Whole numbers stay whole; null is NaN, as NaN is null where an array is sent."""
    got = from_json(value)
    right = json.loads(json.dumps(value).replace("null", "NaN"))
    assert got.dtype == dtype
    assert np.array_equal(got, right, equal_nan=dtype != "bool")


@pytest.mark.parametrize(
    "value",
    [[[1], [1, 2]], [[1], 2], ["a"], [1, "2", None], [{}], [10**400], 5, "abc", None, {"a": [1]}],
    ids=str,
)
def test_what_is_no_array_in_json_is_refused(value: Any) -> None:
    """Lists of different lengths, texts, and numbers alone."""
    with pytest.raises(ValueError, match=r"list"):
        from_json(value)
