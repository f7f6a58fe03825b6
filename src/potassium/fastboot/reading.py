"""Reads what ``init`` has loaded."""

import hashlib
import io
import mmap
import os
import pickle
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from potassium.fastboot.manifest import OBJECTS, TENSORS, Chunk, Manifest
from potassium.fastboot.storages import BYTES, mapped, typed
from potassium.fastboot.trusted import Folder
from potassium.fastboot.unfit import Unfit

__all__ = ["read"]


def read(folder: Folder, manifest: Manifest, modules: Mapping[str, ModuleType]) -> Any:
    """Return what was written into a snapshot.

    Args:
        folder: the snapshot.
        manifest: what it says of itself.
        modules: modules that have another name now than when it was written, by that name.

    Raises:
        Unfit: a file is missing, damaged or not ours.
        Exception: whatever the classes of the objects raised.

    """
    content = folder.read(OBJECTS, manifest.objects_size)
    if hashlib.sha256(content).hexdigest() != manifest.objects_sha256:
        raise Unfit(f"{OBJECTS} is damaged: its SHA-256 is another one")
    tensors = _map(folder, manifest.tensors_size)
    return _Unpickler(io.BytesIO(content), manifest.chunks, tensors, modules).load()


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        file: io.BytesIO,
        chunks: tuple[Chunk, ...],
        tensors: mmap.mmap | None,
        modules: Mapping[str, ModuleType],
    ) -> None:
        super().__init__(file, buffers=_buffers(chunks, tensors))
        self._chunks = chunks
        self._tensors = tensors
        self._modules = modules
        self._storages: dict[int, Any] = {}

    def persistent_load(self, pid: Any) -> Any:
        """Return a storage."""
        number, dtype = pid
        if number not in self._storages:
            self._storages[number] = mapped(self._chunks[number], self._tensors)
        return typed(self._storages[number], dtype)

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function; those of the app's own file perhaps from ``__main__``."""
        if module not in self._modules:
            return super().find_class(module, name)
        found: Any = self._modules[module]
        for part in name.split("."):
            found = getattr(found, part)
        return found


def _map(folder: Folder, size: int) -> mmap.mmap | None:
    """Map the file so that writes stay in this process; None if it is empty."""
    descriptor = folder.open(TENSORS, size)
    try:
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) if size else None
    finally:
        os.close(descriptor)


def _buffers(chunks: tuple[Chunk, ...], tensors: mmap.mmap | None) -> Iterator[memoryview]:
    for one in chunks:
        if one.device == BYTES:
            whole = memoryview(b"" if tensors is None else tensors)
            yield whole[one.offset : one.offset + one.size]
