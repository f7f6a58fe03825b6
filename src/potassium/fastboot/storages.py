"""Storages of torch: their bytes, and how they come back."""

import ctypes
import mmap
from collections.abc import Iterator
from typing import Any

from potassium.fastboot.manifest import Chunk
from potassium.fastboot.torch_devices import moved

__all__ = ["BYTES", "CPU", "mapped", "pieces_of", "typed"]

BYTES, CPU = "bytes", "cpu"  # devices; the first is for buffers of other objects

AT_ONCE = 2**24  # bytes that are written and hashed at a time


def pieces_of(storage: Any) -> Iterator[memoryview]:
    """Yield the bytes of an untyped storage, wherever it is."""
    if storage.device.type != CPU:
        storage = storage.cpu()
    size = storage.nbytes()
    if size:
        array = (ctypes.c_char * size).from_address(storage.data_ptr())
        array.owner = storage  # it must live as long as each view
        view = memoryview(array).cast("B")
        for start in range(0, size, AT_ONCE):
            yield view[start : start + AT_ONCE]


def mapped(chunk: Chunk, tensors: mmap.mmap | None) -> Any:
    """Return the storage of a chunk.

    On a CPU, it is the file itself as long as nobody writes to it.
    """
    import torch  # noqa: PLC0415 - its tensors are in the snapshot

    if not chunk.size or tensors is None:
        return torch.UntypedStorage(chunk.size, device=chunk.device)
    flat = torch.frombuffer(tensors, dtype=torch.uint8, count=chunk.size, offset=chunk.offset)
    storage = flat.untyped_storage()
    return storage if chunk.device == CPU else moved(storage, chunk.device)


def typed(storage: Any, dtype: Any) -> Any:
    """Return the storage as tensors are pickled with it."""
    import torch  # noqa: PLC0415 - as above

    return torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)
