"""What the pickle of a snapshot refers to instead of containing it, and how objects get there."""

import pickle
import sys
from typing import IO, Any

from potassium.fastboot import torch_objects
from potassium.fastboot.chunks import ChunkWriter
from potassium.fastboot.storages import BYTES, pieces_of

__all__ = ["ObjectPickler", "reference"]


class ObjectPickler(pickle.Pickler):
    """Pickles objects, and writes the storages of tensors and other buffers elsewhere.

    Attributes:
        owners: the top-level modules of all classes and functions that were pickled.
        tensors: what was found of each tensor, apart from its values.

    """

    def __init__(self, file: IO[bytes], chunks: ChunkWriter) -> None:
        super().__init__(file, protocol=5, buffer_callback=self._buffer)
        self.owners: set[str] = set()
        self.tensors: list[str] = []
        self._chunks = chunks
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no other storage gets the address of one of them

    def persistent_id(self, obj: Any) -> Any:
        """Return what stands for a storage; None for anything else."""
        found = reference(obj)
        return None if found is None else (self._number(found[0]), found[1])

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle what does not come back as it was otherwise."""
        named = obj if isinstance(getattr(obj, "__module__", None), str) else type(obj)
        self.owners.add(named.__module__.partition(".")[0])
        if (tensor := torch_objects.described(obj)) is not None:
            self.tensors.append(tensor)
        return torch_objects.reduced(obj)

    def _number(self, storage: Any) -> int:
        key = storage._cdata  # noqa: SLF001 - as torch.save does
        if key not in self._numbers:
            self._kept.append(storage)
            size, device = storage.nbytes(), str(storage.device)
            self._numbers[key] = self._chunks.write(size, device, pieces_of(storage))
        return self._numbers[key]

    def _buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """Write a buffer; return whether it goes into the pickle instead."""
        try:
            view = buffer.raw()
        except BufferError:  # it is not contiguous
            return True
        self._chunks.write(view.nbytes, BYTES, [view])
        return False


def reference(obj: Any) -> tuple[Any, Any] | None:
    """Return the untyped storage that ``obj`` is, and its dtype; None for anything else."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return None
    if isinstance(obj, torch.storage.TypedStorage):
        return obj._untyped_storage, obj.dtype  # noqa: SLF001 - as torch.save does
    if isinstance(obj, torch.UntypedStorage):
        return obj, torch.uint8  # of dtypes that typed ones do not have, such as those of 8 bits
    return None
