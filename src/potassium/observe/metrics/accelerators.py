"""Shows the memory of accelerators: of those that this process uses, and of its workers'."""

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric

from potassium.accelerators.torch_memory import memory_of_torch
from potassium.engine import WorkerReport
from potassium.observe.metrics.shown import Shown

__all__ = ["accelerator_families"]

KINDS = {
    "allocated": "Bytes of tensors",
    "reserved": "Bytes that torch holds, those of tensors included",
    "total": "Bytes that there are",
}


def accelerator_families(shown: Shown, workers: Sequence[WorkerReport] = ()) -> Iterator[Metric]:
    """Yield the memory of each device; call this on a thread that may wait.

    What several workers take of one device is added up.
    """
    figures = memory_of_torch()
    for worker in workers:
        for device, one in worker.device_memory.items():
            allocated, reserved, _ = figures.get(device, (0.0, 0.0, 0.0))
            figures[device] = allocated + one.allocated, reserved + one.reserved, one.total
    if not figures:
        return
    for number, (name, what) in enumerate(KINDS.items()):
        yield shown.gauge(
            f"potassium_accelerator_memory_{name}_bytes",
            f"{what} in the memory of a device.",
            {(device,): values[number] for device, values in figures.items()},
            "device",
        )
