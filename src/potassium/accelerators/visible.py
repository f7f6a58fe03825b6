"""The accelerators that this process sees, and how another process sees one of them alone."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from potassium.accelerators import found
from potassium.accelerators.choice import NONE, Names, chosen
from potassium.accelerators.system import System, this_system
from potassium.accelerators.torch_builds import BUILDS

__all__ = ["VARIABLES", "Accelerator", "hiding", "own_device", "usable", "visible"]

CPU = "cpu"


@dataclass(frozen=True)
class Accelerator:
    """One that this process sees.

    Attributes:
        device: what torch calls it in this process, such as ``"cuda:1"``.
        alone: what it is called in a process that sees no other, such as ``"cuda:0"``.
        environment: the variables of such a process.

    """

    device: str
    alone: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class _Kind:
    """Accelerators that are used in the same way.

    Attributes:
        name: what torch calls them, without a number.
        find: returns those that there are.
        variables: say which of them a process sees: the first one that is set.
        build: what torch must be built for; None if another package adds them to it.

    """

    name: str
    find: Callable[[System], list[Names]]
    variables: tuple[str, ...]
    build: str | None = None


KINDS = (
    _Kind("cuda", found.nvidia, ("CUDA_VISIBLE_DEVICES",), "cuda"),
    # Where both are set, libraries for ROCm want them to be the same.
    _Kind("cuda", found.amd, ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"), "hip"),
    _Kind("npu", found.ascend, ("ASCEND_RT_VISIBLE_DEVICES",)),
    _Kind("xpu", found.intel, ("ZE_AFFINITY_MASK",), "xpu"),
    _Kind("mps", found.apple, ()),
)

# All variables that hide accelerators.
VARIABLES = (
    "ROCR_VISIBLE_DEVICES",
    *dict.fromkeys(one for kind in KINDS for one in kind.variables),
)


def usable(system: System | None = None) -> list[Accelerator]:
    """Return the accelerators that a program can use: those of the first kind that there is any of.

    If torch is installed, it is those that it is built for: the graphics of a processor are none.
    """
    system = system or this_system()
    return next((of_kind for _, of_kind in _usable_kinds(system)), [])


def visible(system: System | None = None) -> list[Accelerator]:
    """Return all accelerators that this process sees, whether torch is built for them or not."""
    system = system or this_system()
    all_of_them = {one.device: one for _, of_kind in _usable_kinds(system) for one in of_kind}
    for kind in KINDS:
        for one in _of_kind(kind, system):
            all_of_them.setdefault(one.device, one)
    return list(all_of_them.values())


def hiding(system: System | None = None) -> dict[str, str]:
    """Return the variables of a process that is to see no accelerator, among those in use here."""
    kinds = _usable_kinds(system or this_system())
    return {name: NONE for kind, _ in kinds for name in kind.variables if kind.name != "xpu"}


def own_device(system: System | None = None) -> str:
    """Return the device that a model of this process belongs on, such as ``"cuda:0"`` or ``"cpu"``.

    torch is asked if it is loaded. Otherwise, the machine is.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return next((one.device for one in usable(system)), CPU)
    for name in ("cuda", "xpu", "npu"):
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            return f"{name}:0"
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    return "mps" if mps is not None and mps.is_available() else CPU


def _usable_kinds(system: System) -> Iterator[tuple[_Kind, list[Accelerator]]]:
    """Yield the kinds that there are, with their accelerators."""
    builds = system.builds()
    if builds is None:  # no torch: another library uses them
        builds = BUILDS - {"xpu"}  # nearly all of Intel's are for a screen
    for kind in KINDS:
        if (kind.build is None or kind.build in builds) and (those := _of_kind(kind, system)):
            yield kind, those


def _of_kind(kind: _Kind, system: System) -> list[Accelerator]:
    values = [system.environ[name] for name in kind.variables if name in system.environ]
    ours = chosen(values[0] if values else None, kind.find(system))
    return [
        Accelerator(
            f"{kind.name}:{number}" if kind.variables else kind.name,
            f"{kind.name}:0" if kind.variables else kind.name,
            dict.fromkeys(kind.variables, text),
        )
        for number, (text, _) in enumerate(ours)
    ]
