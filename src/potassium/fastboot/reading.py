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

CUDA = "cuda"


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
    descriptor = folder.open(TENSORS, manifest.tensors_size)
    try:
        tensors = _map(descriptor, manifest.tensors_size)
        storages = _on_gpus(descriptor, manifest.chunks)
    finally:
        os.close(descriptor)
    unpickler = _Unpickler(io.BytesIO(content), manifest.chunks, tensors, storages, modules)
    return unpickler.load()


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        file: io.BytesIO,
        chunks: tuple[Chunk, ...],
        tensors: mmap.mmap | None,
        storages: dict[int, Any],
        modules: Mapping[str, ModuleType],
    ) -> None:
        super().__init__(file, buffers=_buffers(chunks, tensors))
        self._chunks = chunks
        self._tensors = tensors
        self._modules = modules
        self._storages = storages

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


def _map(descriptor: int, size: int) -> mmap.mmap | None:
    """Map the file so that writes stay in this process; None if it is empty."""
    return mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) if size else None


def _on_gpus(descriptor: int, chunks: tuple[Chunk, ...]) -> dict[int, Any]:
    """Return the storages that were on CUDA devices, by the numbers of their chunks."""
    there = {at: one for at, one in enumerate(chunks) if one.device.startswith(CUDA)}
    if not there:
        return {}
    from potassium.fastboot.torch_devices import TorchDevices  # noqa: PLC0415 - where there are any
    from potassium.fastboot.transfer import transferred  # noqa: PLC0415

    return transferred(descriptor, there, TorchDevices())


def _buffers(chunks: tuple[Chunk, ...], tensors: mmap.mmap | None) -> Iterator[memoryview]:
    for one in chunks:
        if one.device == BYTES:
            whole = memoryview(b"" if tensors is None else tensors)
            yield whole[one.offset : one.offset + one.size]
