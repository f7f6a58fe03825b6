"""Whether torch is built for the machine's GPU. torch itself is imported in another process."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from potassium.doctor.gpus import nvidia_gpus
from potassium.doctor.machine import Machine, ProgramError
from potassium.project.finding import Finding, note, ok, problem

__all__ = ["torch_build"]

TIME = 120.0  # seconds; from a cold network disk, torch takes long to import

LOOK = """
import json, warnings
import torch
facts = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip}
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    facts["available"] = torch.cuda.is_available()
facts["told"] = [str(one.message) for one in told]
facts["mps"] = torch.backends.mps.is_available()
if facts["available"]:
    facts["arches"] = torch.cuda.get_arch_list()
    facts["devices"] = [
        [torch.cuda.get_device_name(one), *torch.cuda.get_device_capability(one)]
        for one in range(torch.cuda.device_count())
    ]
    try:
        torch.ones(1, device="cuda").add(1).item()
    except Exception as error:
        facts["error"] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(facts))
"""

WHEELS = "https://download.pytorch.org/whl"
BUILDS = {"11": "cu118", "12": "cu126", "13": "cu130"}  # for drivers that know CUDA up to this


def torch_build(machine: Machine) -> Iterable[Finding]:
    """Look at which GPUs torch was built for, and whether it can use those that there are."""
    if machine.version("torch") is None:
        yield ok("torch", "not installed")
        return
    try:
        facts = json.loads(machine.run((sys.executable, "-c", LOOK), TIME).splitlines()[-1])
    except ProgramError as error:
        last = str(error).splitlines()[-1:] or ["no reason was given"]
        yield problem(
            "torch", f"It cannot be imported: {last[0]}", "pip install --force-reinstall torch"
        )
        return
    version = str(facts["version"])
    if facts["available"]:
        yield from _usable(version, facts)
    elif facts["mps"]:
        yield ok("torch", f'{version}, with MPS: move the model .to("mps")')
    elif gpus := _gpus(machine):
        yield from _unusable(machine, version, facts, gpus)
    elif facts["cuda"] or facts["hip"]:
        yield note(
            "torch",
            f"{version} is built for GPUs, and there is none: it runs on the CPU.",
            f"For a machine without one, the build for CPUs is much smaller: pip install "
            f"--force-reinstall torch --index-url {WHEELS}/cpu",
        )
    else:
        yield ok("torch", f"{version}, for CPUs; no GPU was found")


def _gpus(machine: Machine) -> str:
    """Return the name of the first GPU of NVIDIA, or an empty string."""
    try:
        return next((gpu.name for gpu in nvidia_gpus(machine)), "")
    except ProgramError:
        return ""


def _unusable(machine: Machine, version: str, facts: dict[str, Any], gpu: str) -> Iterator[Finding]:
    """Yield why torch does not see a GPU that the driver has."""
    if not facts["cuda"]:
        kind = "AMD's GPUs" if facts["hip"] else "CPUs only"
        number = version.partition("+")[0]
        yield problem(
            "torch",
            f"{version} is a build for {kind}, but there is a GPU: {gpu}.",
            f"pip install --force-reinstall torch=={number} --index-url "
            f"{WHEELS}/{BUILDS.get(_driver_cuda(machine).partition('.')[0], 'cu126')}",
        )
        return
    known = _driver_cuda(machine)
    if known and _major(facts["cuda"]) > _major(known):
        build = BUILDS.get(known.partition(".")[0])
        yield problem(
            "torch",
            f"{version} is built for CUDA {facts['cuda']}, but the driver knows only CUDA {known} "
            "and older.",
            "Update the driver"
            + (
                f", or: pip install --force-reinstall torch --index-url {WHEELS}/{build}"
                * bool(build)
            ),
        )
        return
    if machine.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return  # there is a finding about that
    told = " ".join(" ".join(facts["told"]).split()) or "CUDA gives no reason"
    yield problem(
        "torch",
        f"{version} cannot use the GPU, {gpu}: {told}",
        "Compare with: nvidia-smi. In a container: docker run --gpus all",
    )


def _usable(version: str, facts: dict[str, Any]) -> Iterator[Finding]:
    """Yield whether torch has code for the GPUs that it sees."""
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else f"ROCm {facts['hip']}"
    for name, major, minor in facts["devices"]:
        if facts["cuda"] and not _has_code(facts["arches"], major, minor):
            yield problem(
                "torch",
                f"{version} has no code for {name} (sm_{major}{minor}), only for "
                f"{', '.join(facts['arches'])}.",
                "Install a newer build for a new GPU, or an older one for an old GPU: see "
                "https://pytorch.org/get-started/locally/",
            )
            return
    if "error" in facts:
        yield problem("torch", f"{version} sees the GPU, but cannot use it: {facts['error']}")
        return
    yield ok("torch", f"{version} for {built}, and it can use the GPU")


def _has_code(arches: list[str], major: int, minor: int) -> bool:
    """Return whether one of ``arches`` runs on a GPU of that compute capability.

    Code for sm_80 runs on 8.x, and what is for compute_80 is compiled for all newer ones: see
    "Binary Compatibility" and "PTX Compatibility" in the CUDA C++ Programming Guide.
    """
    for arch in arches:
        if not (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)(a?)f?", arch)):
            continue
        its = int(match[2]), int(match[3])
        if its == (major, minor) or (its[0] == major and its[1] <= minor and not match[4]):
            return True
        if match[1] == "compute" and its <= (major, minor):
            return True
    return False


def _driver_cuda(machine: Machine) -> str:
    """Return the newest version of CUDA that the driver knows, or an empty string."""
    try:
        found = re.search(r"CUDA Version\s*:\s*([\d.]+)", machine.run(("nvidia-smi", "-q"), 20.0))
    except ProgramError:
        return ""
    return found[1] if found else ""


def _major(version: str) -> int:
    return int(version.partition(".")[0])
