"""Copies to GPUs with torch."""

import ctypes
from typing import Any

__all__ = ["TorchDevices", "moved"]


class TorchDevices:
    """The CUDA devices of this process, each with a stream of its own."""

    def __init__(self) -> None:
        import torch  # noqa: PLC0415 - its tensors are in the snapshot

        self._torch: Any = torch
        self._streams: dict[Any, Any] = {}

    def buffer(self, size: int) -> tuple[Any, memoryview]:
        """Return pinned memory, and a view to write to it."""
        memory = self._torch.empty(size, dtype=self._torch.uint8, pin_memory=True)
        array = (ctypes.c_char * size).from_address(memory.data_ptr())
        return memory, memoryview(array).cast("B")

    def allocate(self, device: str, size: int) -> Any:
        """Return a storage on a device."""
        return self._torch.UntypedStorage(size, device=device)

    def copy(self, buffer: Any, start: int, storage: Any, offset: int, size: int) -> None:
        """Begin to copy, on the stream of the device."""
        flat = self._torch.empty(0, dtype=self._torch.uint8, device=storage.device)
        flat.set_(storage)
        with self._torch.cuda.stream(self._stream(storage.device)):
            flat[offset : offset + size].copy_(buffer[start : start + size], non_blocking=True)

    def mark(self) -> list[Any]:
        """Return an event of each stream."""
        return [stream.record_event() for stream in self._streams.values()]

    def wait(self, mark: list[Any]) -> None:
        """Wait until the streams have come to their events."""
        for event in mark:
            event.synchronize()

    def _stream(self, device: Any) -> Any:
        if device not in self._streams:
            self._streams[device] = self._torch.cuda.Stream(device)
            # what has been allocated may be in use on the other stream
            self._streams[device].wait_stream(self._torch.cuda.current_stream(device))
        return self._streams[device]


def moved(storage: Any, device: str) -> Any:
    """Return a copy of a storage on a device of another kind than CUDA."""
    import torch  # noqa: PLC0415 - as above

    flat = torch.empty(0, dtype=torch.uint8)
    flat.set_(storage)
    return flat.to(device).untyped_storage()
