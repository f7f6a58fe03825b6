"""Machines with accelerators that do not exist."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from potassium.accelerators.nvml import NvidiaGpu
from potassium.accelerators.system import System

GPUS = (NvidiaGpu("GPU-aaaa1111"), NvidiaGpu("GPU-bbbb2222"), NvidiaGpu("GPU-cccc3333"))

CPU_NODE = "cpu_cores_count 16\nsimd_count 0\ndrm_render_minor 0\nunique_id 0\n"
AMD_NODE = "cpu_cores_count 0\nsimd_count 304\ndrm_render_minor {}\nunique_id {}\n"


def system(  # noqa: PLR0913 - what a machine has
    root: Path,
    *,
    nvidia: Sequence[NvidiaGpu] | None = None,
    builds: Collection[str] | None = None,
    environ: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    platform: str = "Linux x86_64",
) -> System:
    """Return a machine with GPUs of NVIDIA, a torch built for so much, variables and files."""
    for name, text in (files or {}).items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return System(
        environ=environ or {},
        root=root,
        platform=platform,
        nvml=lambda: nvidia,
        builds=lambda: None if builds is None else frozenset(builds),
    )


def amd_files(number: int) -> dict[str, str]:
    """Return the files of a machine with so many GPUs of AMD, behind the node of its CPU."""
    nodes = "/sys/class/kfd/kfd/topology/nodes"
    files = {"/dev/kfd": "", f"{nodes}/0/properties": CPU_NODE}
    for at in range(number):
        files[f"{nodes}/{at + 1}/properties"] = AMD_NODE.format(128 + at, 0xABC0 + at)
        files[f"/dev/dri/renderD{128 + at}"] = ""
    return files


def ascend_files(number: int) -> dict[str, str]:
    """Return the files of a machine with so many NPUs of Huawei."""
    return {"/dev/davinci_manager": "", **{f"/dev/davinci{at}": "" for at in range(number)}}


def intel_files(number: int) -> dict[str, str]:
    """Return the files of a machine with so many GPUs of Intel, beside one of somebody else."""
    files = {"/dev/dri/renderD128": "", "/sys/class/drm/renderD128/device/vendor": "0x1002\n"}
    for at in range(129, 129 + number):
        files[f"/dev/dri/renderD{at}"] = ""
        files[f"/sys/class/drm/renderD{at}/device/vendor"] = "0x8086\n"
    return files
