"""Writes what ``init`` has loaded."""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potassium.fastboot.chunks import ChunkWriter, Nowhere, Sink
from potassium.fastboot.manifest import OBJECTS, TENSORS, Chunk
from potassium.fastboot.pickled import ObjectPickler
from potassium.fastboot.trusted import MODE, write_own

__all__ = ["Written", "examined", "write"]


@dataclass(frozen=True)
class Written:
    """What is in the files.

    Attributes:
        objects_size: bytes of ``objects.pkl``.
        objects_sha256: its SHA-256.
        tensors_size: bytes of ``tensors.bin``.
        chunks: what lies in that.
        owners: the top-level modules of all classes and functions in ``objects.pkl``.
        tensors: what was found of each tensor, apart from its values.

    """

    objects_size: int
    objects_sha256: str
    tensors_size: int
    chunks: tuple[Chunk, ...]
    owners: frozenset[str]
    tensors: tuple[str, ...]


def write(root: Any, folder: Path) -> Written:
    """Write ``root`` into files in ``folder``.

    Raises:
        Exception: something in it cannot be pickled.

    """
    with (folder / TENSORS).open("wb") as file:
        os.fchmod(file.fileno(), MODE)
        written, content = _written(root, file)
        file.truncate(written.tensors_size)
    write_own(folder / OBJECTS, content)
    return written


def examined(root: Any) -> Written:
    """Return what ``write`` would, and write nothing."""
    return _written(root, Nowhere())[0]


def _written(root: Any, tensors: Sink) -> tuple[Written, bytes]:
    """Write the tensors of ``root``, and return what is written with the pickle of all else."""
    objects = io.BytesIO()
    with ChunkWriter(tensors) as chunks:
        pickler = ObjectPickler(objects, chunks)
        pickler.dump(root)
    content = objects.getvalue()
    written = Written(
        len(content),
        hashlib.sha256(content).hexdigest(),
        chunks.size,
        tuple(chunks.chunks),
        frozenset(pickler.owners),
        tuple(pickler.tensors),
    )
    return written, content
