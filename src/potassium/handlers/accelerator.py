"""Classifies an accelerator's errors and frees its memory. Never imports torch."""

import gc
import re
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from potassium.errors import OutOfMemory

__all__ = ["Modes", "free_memory", "is_fatal", "is_out_of_memory", "out_of_memory", "to_host"]

# The CUDA driver marks these errors as sticky: every later call in the process returns them again
# (CUDA Runtime API, cudaError_t: "the process must be terminated and relaunched"). Other errors,
# such as an invalid launch configuration, leave the context usable.
STICKY = re.compile(
    r"device-side assert"
    r"|illegal memory access"
    r"|illegal instruction"
    r"|illegal address"
    r"|misaligned address"
    r"|invalid program counter"
    r"|invalid address space|operation not supported on global/shared address space"
    r"|hardware stack error"
    r"|unspecified launch failure"
    r"|launch timed out|launch timeout"
    r"|uncorrectable (ECC|NVLink) error"
    r"|CUBLAS_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"
    r"|CUDNN_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)",
    re.IGNORECASE,
)
# Only torch writes texts that begin like this: what a client sends may stand further behind.
OF_THE_DEVICE = re.compile(r"(CUDA|HIP|cuDNN|MIOpen) error: ")
NO_MEMORY = re.compile(
    r"(CUDA|HIP) (error: )?out of memory"
    r"|(CUDA|HIP|cuDNN|MIOpen) error: \w+_STATUS_ALLOC_FAILED"
    r"|\[enforce fail at .{0,200}(not enough memory|can't allocate memory)",
    re.IGNORECASE | re.DOTALL,
)


def is_fatal(error: BaseException) -> bool:
    """Return whether ``error`` means that this process can no longer use the accelerator.

    Looks at ``error``, and at its causes and contexts, because a handler may have wrapped one of
    torch's. The class ``torch.AcceleratorError`` is believed. Of any other RuntimeError the text
    may be anybody's, so the device itself is asked: once its context is lost, it refuses
    everything.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    accelerator_error = getattr(torch, "AcceleratorError", ())
    for one in _chain(error):
        text = _text(one) if isinstance(one, RuntimeError) else ""
        if STICKY.search(text) and not is_out_of_memory(one):
            if isinstance(one, accelerator_error):
                return True
            if OF_THE_DEVICE.match(text) and _is_lost(torch):
                return True
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` means that memory ran out, on any device."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.match(_text(error)) is not None


def out_of_memory() -> OutOfMemory:
    """Return what the caller is told if memory runs out."""
    return OutOfMemory("The accelerator is out of memory.", retry_after=1)


def free_memory() -> None:
    """Release the device memory that torch holds in its cache but does not use."""
    gc.collect()  # tensors in reference cycles, which tracebacks create
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def to_host(value: Any) -> Any:
    """Return ``value`` with its tensors, nested in lists, tuples and dicts too, in host memory."""
    torch = sys.modules.get("torch")
    if torch is None:
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    kind = type(value)
    if kind is dict:
        return {key: to_host(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind(to_host(item) for item in value)
    return value


class Modes:
    """Isolates one generator's torch modes from everything else that runs on its thread.

    ``torch.inference_mode()``, ``torch.no_grad()`` and ``torch.autocast()`` around a ``yield``
    stay in force while the generator is suspended. Each step therefore runs inside this context
    manager: the modes in force at the end of a step are set aside, and restored at the beginning
    of the next. Other torch contexts, such as ``torch.device()``, are not handled and must not be
    used around a ``yield``.
    """

    __slots__ = ("_aside", "_before", "_guard")

    def __init__(self) -> None:
        self._aside: _TorchModes | None = None
        self._before: _TorchModes | None = None
        self._guard: Any = None  # exiting it restores the inference mode that was set aside

    def __enter__(self) -> None:
        """Restore the modes that the last step left in force."""
        torch = sys.modules.get("torch")
        if torch is None:
            return
        self._before = _modes_of(torch)
        if self._guard is not None:
            self._guard.__exit__(None, None, None)
            self._guard = None
        if self._aside is not None:
            _set_modes(torch, self._aside)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Set aside the modes that this step left in force."""
        torch, before = sys.modules.get("torch"), self._before
        if torch is None or before is None:
            return
        left = _modes_of(torch)
        self._aside = left if left != before else None
        if left[0] != before[0]:
            self._guard = torch.inference_mode(before[0])
            self._guard.__enter__()
        if self._aside is not None:
            _set_modes(torch, before)


_TorchModes = tuple[bool, bool, tuple[tuple[str, bool, Any], ...]]


def _modes_of(torch: Any) -> _TorchModes:
    autocast = tuple(
        (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
        for device in ("cpu", "cuda")
    )
    return torch.is_inference_mode_enabled(), torch.is_grad_enabled(), autocast


def _set_modes(torch: Any, modes: _TorchModes) -> None:
    """Set all modes except the inference mode, which only a guard can set."""
    _, grad, autocast = modes
    torch.set_grad_enabled(grad)
    for device, enabled, dtype in autocast:
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)


def _is_lost(torch: Any) -> bool:
    """Ask the device, if there is one, whether it still does what it is told."""
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except Exception:  # noqa: BLE001 - it says so in whatever way
        return True
    return False


def _text(error: BaseException) -> str:
    """Return the text of an error; of one that has none, because it raises itself, an empty one."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - of the app's own class
        return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then its causes and contexts, each once."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
