"""Shows the memory of accelerators, as torch counts it. Never imports torch."""

import sys
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from potassium.observe.metrics.shown import Shown

__all__ = ["accelerator_families"]

LIKE_CUDA = ("cuda", "xpu", "npu")  # modules of torch with the same functions

Bytes = dict[tuple[str, ...], float]


def accelerator_families(shown: Shown) -> Iterator[Metric]:
    """Yield the memory of each device that this process uses; nothing before torch is loaded.

    Only the counts of torch's allocator are read: no device is asked for anything, initialized or
    waited for. The allocator's lock may be held for a moment, so call this on a thread that may
    wait.
    """
    torch: Any = sys.modules.get("torch")
    allocated: Bytes = {}
    reserved: Bytes = {}
    total: Bytes = {}
    for name in LIKE_CUDA:
        module = getattr(torch, name, None)
        if module is None or not module.is_initialized():
            continue
        for number in range(module.device_count()):
            device, stats = (f"{name}:{number}",), module.memory_stats(number)
            allocated[device] = stats.get("allocated_bytes.all.current", 0)
            reserved[device] = stats.get("reserved_bytes.all.current", 0)
            total[device] = module.get_device_properties(number).total_memory
    if _has_mps(torch):
        allocated["mps",] = torch.mps.current_allocated_memory()
        reserved["mps",] = torch.mps.driver_allocated_memory()
        total["mps",] = torch.mps.recommended_max_memory()
    if not total:
        return
    for what, values, name in (
        ("Bytes of tensors", allocated, "allocated"),
        ("Bytes that torch holds, those of tensors included", reserved, "reserved"),
        ("Bytes that there are", total, "total"),
    ):
        yield shown.gauge(
            f"potassium_accelerator_memory_{name}_bytes",
            f"{what} in the memory of a device.",
            values,
            "device",
        )


def _has_mps(torch: Any) -> bool:
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    return mps is not None and bool(mps.is_available())
