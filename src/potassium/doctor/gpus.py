"""The GPUs of a machine: what there are, and whether they are free."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from potassium.accelerators.found import amd_nodes
from potassium.doctor.machine import Machine, ProgramError
from potassium.project.finding import Finding, note, ok, problem

__all__ = ["Gpu", "amd", "hidden", "memory", "nvidia", "nvidia_gpus"]

TIME = 20.0  # seconds; the driver of many GPUs takes some to wake up
GIB = 1024**3
MIB = 1024**2

QUERY = "index,name,driver_version,memory.total,memory.used"
PROCESSES = "pid,process_name,used_memory"

NVIDIA = "0x10de"  # as a vendor of PCI devices
DISPLAY = "0x03"  # how the class of GPUs begins

BUSY = 0.1  # of its memory, from which on somebody else uses a GPU
FULL = 0.9


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as nvidia-smi shows it; memory in bytes, None where that is the machine's own."""

    index: str
    name: str
    driver: str
    total: float | None
    used: float | None


def nvidia_gpus(machine: Machine) -> Sequence[Gpu]:
    """Return the GPUs that the driver of NVIDIA has.

    Raises:
        ProgramError: there is no driver, or it does not work.

    """
    command = ("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits")
    rows = [line.split(", ") for line in machine.run(command, TIME).splitlines() if line]
    return [
        Gpu(index=index, name=name, driver=driver, total=_bytes(total), used=_bytes(used))
        for index, name, driver, total, used in rows
    ]


def nvidia(machine: Machine) -> Iterable[Finding]:
    """Look for GPUs of NVIDIA, and why one that is there cannot be used."""
    try:
        gpus = nvidia_gpus(machine)
    except ProgramError as error:
        yield from _no_driver(machine, str(error))
        return
    for gpu in gpus:
        size = "" if gpu.total is None else f", {gpu.total / GIB:.0f} GiB"
        yield ok("GPU", f"{gpu.index}: {gpu.name}{size}, driver {gpu.driver}")
    if gpus and machine.system == "Linux" and not machine.at("/dev/nvidia-uvm").exists():
        yield problem(
            "GPU",
            "/dev/nvidia-uvm is missing, so CUDA cannot start.",
            "On the machine itself: sudo nvidia-modprobe -u -c 0. Then start the container anew.",
        )


def _no_driver(machine: Machine, error: str) -> Iterator[Finding]:
    """Yield why nvidia-smi shows nothing."""
    has_driver = machine.at("/proc/driver/nvidia/version").exists()
    if "version mismatch" in error.lower():
        yield problem(
            "GPU",
            f"nvidia-smi: {_one_line(error)}: the driver was updated while it was in use.",
            "Reboot the machine: sudo reboot",
        )
    elif "Unknown Error" in error and machine.is_container:
        yield problem(
            "GPU",
            f"nvidia-smi: {_one_line(error)}: the container has lost its GPU, as it does when "
            "systemd reloads its units.",
            "Start the container anew.",
        )
    elif "is not installed" not in error:
        yield problem("GPU", f"nvidia-smi: {_one_line(error)}", "Look for NVRM in: sudo dmesg")
    elif has_driver:
        yield problem(
            "GPU",
            "The NVIDIA driver is loaded, but nvidia-smi is missing.",
            "In a container: docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility. "
            "Otherwise, install the driver's tools (nvidia-utils).",
        )
    elif _has_card(machine):
        yield problem(
            "GPU",
            "There is an NVIDIA card, but no driver for it.",
            "In a container: docker run --gpus all, or nvidia.com/gpu in the pod's limits. "
            "On Ubuntu: sudo ubuntu-drivers install --gpgpu",
        )
    else:
        hint = "In a container: docker run --gpus all, or nvidia.com/gpu in the pod's limits."
        yield note("GPU", "No NVIDIA GPU was found.", hint if machine.is_container else None)


def _has_card(machine: Machine) -> bool:
    devices = machine.at("/sys/bus/pci/devices")
    return any(
        machine.read(f"/sys/bus/pci/devices/{one.name}/vendor") == NVIDIA
        and (machine.read(f"/sys/bus/pci/devices/{one.name}/class") or "").startswith(DISPLAY)
        for one in (devices.iterdir() if devices.is_dir() else ())
    )


def memory(machine: Machine) -> Iterable[Finding]:
    """Look at how much of each GPU's memory others use."""
    try:
        gpus = nvidia_gpus(machine)
    except ProgramError:
        return
    for gpu in gpus:
        if not gpu.total or gpu.used is None or gpu.used < BUSY * gpu.total:
            continue
        say = problem if gpu.used > FULL * gpu.total else note
        yield say(
            "GPU memory",
            f"{gpu.used / GIB:.1f} of {gpu.total / GIB:.1f} GiB of GPU {gpu.index} are in use"
            f"{_by_whom(machine, gpu)}.",
            "Stop what should not run (kill PID), or choose another GPU: CUDA_VISIBLE_DEVICES=1",
        )


def _by_whom(machine: Machine, gpu: Gpu) -> str:
    command = (
        "nvidia-smi",
        f"--id={gpu.index}",
        f"--query-compute-apps={PROCESSES}",
        "--format=csv,noheader,nounits",
    )
    try:
        rows = [line.split(", ") for line in machine.run(command, TIME).splitlines() if line]
    except ProgramError:
        return ""
    shown = [f"{row[1].rpartition('/')[2]} (process {row[0]})" for row in rows if len(row) > 1]
    return f", by {', '.join(shown)}" if shown else ""


def hidden(machine: Machine) -> Iterable[Finding]:
    """Look at which GPUs CUDA_VISIBLE_DEVICES leaves."""
    value = machine.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return
    try:
        known = {gpu.index for gpu in nvidia_gpus(machine)}
    except ProgramError:
        return
    if value.strip() in ("", "-1"):
        yield note(
            "GPU",
            f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU from the app.",
            "unset CUDA_VISIBLE_DEVICES",
        )
        return
    names = [one.strip() for one in value.split(",")]
    if wrong := [one for one in names if re.fullmatch(r"-?\d+", one) and one not in known]:
        yield problem(
            "GPU",
            f"CUDA_VISIBLE_DEVICES={value} names {', '.join(wrong)}, but the GPUs are "
            f"{', '.join(sorted(known))}: from the wrong one on, all are hidden.",
            "unset CUDA_VISIBLE_DEVICES",
        )


def amd(machine: Machine) -> Iterable[Finding]:
    """Look for GPUs of AMD that ROCm can use."""
    found = amd_nodes(machine.read, machine.at)
    if not found:
        return
    yield ok("GPU", f"{len(found)} from AMD")
    if not machine.at("/dev/kfd").exists():
        yield problem(
            "GPU",
            "/dev/kfd is missing, so ROCm cannot use the GPU.",
            "In a container: docker run --device /dev/kfd --device /dev/dri --group-add video",
        )


def _bytes(mebibytes: str) -> float | None:
    try:
        return float(mebibytes) * MIB
    except ValueError:  # [N/A]
        return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
