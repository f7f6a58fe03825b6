"""NVIDIA's management library (NVML), which knows the GPUs without a CUDA context on one.

Its functions and codes are those of https://docs.nvidia.com/deploy/nvml-api/.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["NvidiaGpu", "nvml_gpus"]

LIBRARY = "libnvidia-ml.so.1"
SUCCESS = 0
MIG_ENABLED = 1
UUID_SIZE = 96  # NVML_DEVICE_UUID_V2_BUFFER_SIZE


@dataclass(frozen=True)
class NvidiaGpu:
    """A GPU of NVIDIA.

    Attributes:
        uuid: such as ``"GPU-8932f937-..."``; empty if it is not known.
        instances: the UUIDs of its MIG devices; None if it is not divided into such.

    """

    uuid: str
    instances: tuple[str, ...] | None = None


class _Failed(Exception):
    """A function of the library returned something other than success."""


def nvml_gpus(load: Callable[[str], Any] | None = None) -> Sequence[NvidiaGpu] | None:
    """Return the GPUs that the driver has, in its order; None if it cannot be asked.

    ``load`` loads a library of C; defaults to ``ctypes.CDLL``.
    """
    import ctypes  # noqa: PLC0415 - for processes that look for GPUs

    try:
        library = _Library(ctypes, (load or ctypes.CDLL)(LIBRARY))
        library.call("nvmlInit_v2")
    except (OSError, _Failed):
        return None
    try:
        return library.gpus()
    except _Failed:
        return None
    finally:
        library.shutdown()


class _Library:
    """The functions of the library that are needed here."""

    def __init__(self, ctypes: Any, functions: Any) -> None:
        self._ctypes = ctypes
        self._functions = functions

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raise if it fails, or if the library is too old to have it."""
        function = getattr(self._functions, name, None)
        if function is None or function(*arguments) != SUCCESS:
            raise _Failed(name)

    def shutdown(self) -> None:
        """Let the library forget what it has found."""
        self._functions.nvmlShutdown()

    def gpus(self) -> list[NvidiaGpu]:
        """Return all GPUs, without those that are lost."""
        count = self._number("nvmlDeviceGetCount_v2")
        handles = (self._handle("nvmlDeviceGetHandleByIndex_v2", at) for at in range(count))
        return [self._gpu(handle) for handle in handles if handle is not None]

    def _gpu(self, handle: Any) -> NvidiaGpu:
        try:
            uuid = self._uuid(handle)
        except _Failed:
            return NvidiaGpu("")
        return NvidiaGpu(uuid, self._instances(handle))

    def _instances(self, gpu: Any) -> tuple[str, ...] | None:
        """Return the MIG devices of a GPU; None if MIG is off, or unknown to GPU or library."""
        mode, pending = self._ctypes.c_uint(), self._ctypes.c_uint()
        byref = self._ctypes.byref
        try:
            self.call("nvmlDeviceGetMigMode", gpu, byref(mode), byref(pending))
            if mode.value != MIG_ENABLED:
                return None
            count = self._number("nvmlDeviceGetMaxMigDeviceCount", gpu)
        except _Failed:
            return None
        name = "nvmlDeviceGetMigDeviceHandleByIndex"
        handles = (self._handle(name, gpu, at) for at in range(count))
        return tuple(self._uuid(one) for one in handles if one is not None)

    def _number(self, name: str, *arguments: Any) -> int:
        number = self._ctypes.c_uint()
        self.call(name, *arguments, self._ctypes.byref(number))
        return int(number.value)

    def _handle(self, name: str, *arguments: Any) -> Any:
        """Return a handle; None if there is nothing at that index."""
        handle = self._ctypes.c_void_p()
        try:
            self.call(name, *arguments, self._ctypes.byref(handle))
        except _Failed:
            return None
        return handle

    def _uuid(self, handle: Any) -> str:
        text = self._ctypes.create_string_buffer(UUID_SIZE)
        self.call("nvmlDeviceGetUUID", handle, text, UUID_SIZE)
        return bytes(text.value).decode("ascii", "replace")
