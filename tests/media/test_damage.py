"""Damaged files of every format: each is a value or is refused with a reason, and takes no time."""

import io
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import safetensors.numpy
import soundfile

from potassium.http.file import File
from potassium.media import array, audio, image

SIZES = (0, 1, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
NUMBERS = np.arange(12, dtype="float32").reshape(3, 4)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.effect_noise((20, 16), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def sound(kind: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.linspace(0, 90, 1000)), 8000, format=kind)
    return buffer.getvalue()


def npy(_: str) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, NUMBERS)
    return buffer.getvalue()


def arrow(compression: str) -> bytes:
    table = pa.table({"a": pa.FixedSizeListArray.from_arrays(NUMBERS.ravel(), 4)})
    options = pa.ipc.IpcWriteOptions(compression=compression or None)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def damaged(content: bytes, number: int) -> Iterator[bytes]:
    """Yield ``number`` files in which bits, bytes or sizes are wrong, or a part is missing."""
    rng = random.Random(len(content))  # noqa: S311 - the same each time
    for _ in range(number):
        data = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(100) % len(data)
            match rng.randrange(4):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    data[at] = rng.randrange(256)
                case 2:
                    width = rng.choice((2, 4, 8))
                    size = rng.choice(SIZES) % 256**width
                    data[at : at + width] = size.to_bytes(width, rng.choice(("little", "big")))
                case _:
                    del data[at : at + rng.choice((1, 8, len(data) // 2))]
            data = data or bytearray(1)
        yield bytes(data)


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore")  # of the libraries, which a server does not show either
@pytest.mark.parametrize(
    ("make", "kind", "decode"),
    [
        *[(picture, kind, image.decode) for kind in image.FORMATS],
        *[(sound, kind, audio.decode) for kind in ("WAV", "FLAC", "OGG", "MP3")],
        (npy, "", array.decode),
        (lambda _: safetensors.numpy.save({"a": NUMBERS}), "", array.decode),
        (arrow, "", array.decode),
        (arrow, "zstd", array.decode),
    ],
)
def test_no_damage_is_worse_than_a_refusal(
    make: Callable[[str], bytes], kind: str, decode: Callable[[File], Any]
) -> None:
    """Wherever it is: nothing but ValueError is raised."""
    content, values = make(kind), 0
    for data in damaged(content, 800):
        with suppress(ValueError):
            decode(File(data))
            values += 1
    assert values < 800
    decode(File(content))
