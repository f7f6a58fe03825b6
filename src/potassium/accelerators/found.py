"""What accelerators of each maker a machine has, and by which texts each can be chosen."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from potassium.accelerators.choice import Names, chosen
from potassium.accelerators.nvml import NvidiaGpu
from potassium.accelerators.system import System

__all__ = ["amd", "amd_nodes", "apple", "ascend", "intel", "nvidia"]

NODES = "/sys/class/kfd/kfd/topology/nodes"
PROC = "/proc/driver/nvidia/gpus"
INTEL = "0x8086"  # as a vendor of PCI devices


def nvidia(system: System) -> list[Names]:
    """Return the GPUs of NVIDIA, or the MIG devices of those that are divided into such.

    A number means a place in CUDA's order, which is also that of a process which sees all of them.
    Where there are MIG devices, only UUIDs are unambiguous.
    """
    gpus = system.nvml()
    if gpus is None:
        gpus = _nvidia_files(system)
    has_instances = any(gpu.instances is not None for gpu in gpus)
    found: list[Names] = []
    for number, gpu in enumerate(gpus):
        if gpu.instances is None:
            names = (str(number), *filter(None, [gpu.uuid]))
            found.append(names[::-1] if has_instances else names)
        else:  # a number means the first one of that GPU
            numbers = [(str(number),), *[()] * len(gpu.instances)]
            found += [(uuid, *more) for uuid, more in zip(gpu.instances, numbers, strict=False)]
    return found


def _nvidia_files(system: System) -> Sequence[NvidiaGpu]:
    """Return what the driver shows as files, where its library is not installed."""
    texts = [system.read(f"{PROC}/{name}/information") for name in system.names(PROC)]
    uuids = [re.search(r"^GPU UUID:\s*(GPU-[0-9a-f-]+)", text, re.MULTILINE) for text in texts]
    return [NvidiaGpu(uuid[1] if uuid else "") for uuid in uuids]


def amd(system: System) -> list[Names]:
    """Return the GPUs of AMD that ROCm may use, and that ``ROCR_VISIBLE_DEVICES`` leaves."""
    if not system.at("/dev/kfd").exists():
        return []
    there: list[Names] = []
    for text in amd_nodes(system.read, system.at):
        render = re.search(r"^drm_render_minor (\d+)$", text, re.MULTILINE)
        if render and int(render[1]) and not system.at(f"/dev/dri/renderD{render[1]}").exists():
            continue  # not one of this container
        unique = re.search(r"^unique_id (\d+)$", text, re.MULTILINE)
        uuid = [f"GPU-{int(unique[1]):016x}"] if unique and int(unique[1]) else []
        there.append((str(len(there)), *uuid))
    left = chosen(system.environ.get("ROCR_VISIBLE_DEVICES"), there)
    return [(str(number), *names[1:]) for number, (_, names) in enumerate(left)]


def amd_nodes(read: Callable[[str], str | None], at: Callable[[str], Path] = Path) -> list[str]:
    """Return the properties of each GPU of AMD that the kernel has, as its driver writes them.

    Args:
        read: returns the text of a file, without an error if there is none.
        at: returns where an absolute path is.

    """
    folder = at(NODES)
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    texts = [read(f"{NODES}/{name}/properties") for name in sorted(names, key=_number)]
    # A node without SIMD units is a CPU.
    return [text for text in texts if text and not re.search("^simd_count 0$", text, re.MULTILINE)]


def ascend(system: System) -> list[Names]:
    """Return the NPUs of Huawei that this machine or container has, numbered from 0."""
    files = [name for name in system.names("/dev") if re.fullmatch("davinci[0-9]+", name)]
    return [(str(number),) for number in range(len(files))]


def intel(system: System) -> list[Names]:
    """Return the GPUs of Intel. Their order is that of Level Zero; here, only the number counts."""
    files = [name for name in system.names("/dev/dri") if name.startswith("renderD")]
    vendors = [system.read(f"/sys/class/drm/{name}/device/vendor").strip() for name in files]
    return [(str(number),) for number in range(vendors.count(INTEL))]


def apple(system: System) -> list[Names]:
    """Return the GPU of Apple's own processors."""
    return [("0",)] if system.platform == "Darwin arm64" else []


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else 0
