"""The memory of accelerators, as torch counts it. Never imports torch."""

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["Memory", "memory_of_torch"]

LIKE_CUDA = ("cuda", "xpu", "npu")  # modules of torch with the same functions

Memory = dict[str, tuple[float, float, float]]  # bytes of tensors, held and there, by device
Reader = Callable[[Any], Memory]

logger = logging.getLogger("potassium")


def memory_of_torch() -> Memory:
    """Return the memory of each device that this process uses; nothing before torch is loaded.

    Only the counts of torch's allocator are read: no device is asked for anything, initialized or
    waited for. The allocator's lock may be held for a moment, so call this on a thread that may
    wait. What cannot be read is left out: torch may be half imported, or a device lost.
    """
    torch: Any = sys.modules.get("torch")
    figures: Memory = {}
    readers: list[Reader] = [partial(_like_cuda, name) for name in LIKE_CUDA]
    for read in (*readers, _mps):
        try:
            figures |= read(torch)
        except Exception:  # whatever it is, the other figures are not to be lost with it
            logger.debug("the memory of an accelerator cannot be read", exc_info=True)
    return figures


def _like_cuda(name: str, torch: Any) -> Memory:
    """Return what is allocated, reserved and there, for each device of a module of torch."""
    module = getattr(torch, name, None)
    if module is None or not module.is_initialized():
        return {}
    figures = {}
    for number in range(module.device_count()):
        stats = module.memory_stats(number)
        figures[f"{name}:{number}"] = (
            stats.get("allocated_bytes.all.current", 0),
            stats.get("reserved_bytes.all.current", 0),
            module.get_device_properties(number).total_memory,
        )
    return figures


def _mps(torch: Any) -> Memory:
    """Return the same for the GPU of an Apple."""
    backend = getattr(getattr(torch, "backends", None), "mps", None)
    if backend is None or not backend.is_available():
        return {}
    mps = torch.mps
    allocated, reserved = mps.current_allocated_memory(), mps.driver_allocated_memory()
    return {"mps": (allocated, reserved, mps.recommended_max_memory())}
