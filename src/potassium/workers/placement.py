"""Decides on which device each worker is, and what its process has to be told."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from potassium.accelerators.system import System, this_system
from potassium.accelerators.visible import VARIABLES, Accelerator, hiding, usable, visible
from potassium.config import Workers
from potassium.errors import UsageError

__all__ = ["CPU", "Placement", "names_of", "placements"]

CPU = "cpu"

logger = logging.getLogger("potassium")


@dataclass(frozen=True)
class Placement:
    """Where one worker is.

    Attributes:
        device: its device as this process and the operator call it, such as ``"cuda:1"``.
        told: what ``init`` is told, because the worker sees no other: ``"cuda:0"``.
        environment: the variables to set for its process, before it imports anything.

    """

    device: str
    told: str
    environment: Mapping[str, str]


def placements(workers: Workers, system: System | None = None) -> list[Placement]:
    """Return where each worker is. No accelerator is touched, and torch is not imported.

    Raises:
        UsageError: a device does not exist, or there are fewer than workers.

    """
    system = system or this_system()
    if isinstance(workers.devices, str | int):
        named = _unnamed(workers.devices, system)
    else:
        named = workers.devices
    there = {one.device: one for one in visible(system)}
    _check_there(workers, named, list(there), system)
    hidden = hiding(system)
    return [_placed(name, there.get(name), hidden) for name in named]


def names_of(placements: Sequence[Placement]) -> list[str]:
    """Return a name for each worker: its device, with a number if others are there as well."""
    devices = [placement.device for placement in placements]
    return [
        device if devices.count(device) == 1 else f"{device} #{devices[:at].count(device)}"
        for at, device in enumerate(devices)
    ]


def _placed(name: str, accelerator: Accelerator | None, hidden: Mapping[str, str]) -> Placement:
    if accelerator is None:
        return Placement(name, name, hidden)
    return Placement(name, accelerator.alone, {**hidden, **accelerator.environment})


def _unnamed(devices: str | int, system: System) -> Sequence[str]:
    """Return a device for each worker, of those that the program can use."""
    if isinstance(devices, str) and devices != "auto":
        return [devices]
    names = [one.device for one in usable(system)]
    if not names:
        _tell_unusable(system)
        return [CPU] * (1 if isinstance(devices, str) else devices)
    if isinstance(devices, str):
        return names
    if devices > len(names):
        shared = ", ".join(f'"{names[at % len(names)]}"' for at in range(devices))
        raise UsageError(
            f"Workers({devices}): there {_number_of(names)}. Write Workers({len(names)}), or let "
            f"workers share one: Workers([{shared}]).{_hint(system)}"
        )
    return names[:devices]


def _tell_unusable(system: System) -> None:
    """Log if there are accelerators that are left idle."""
    if idle := [one.device for one in visible(system)]:
        logger.warning(
            "torch is not built for %s, so the workers are on the CPU. Install a build of torch "
            "that is, or name the devices if another library uses them: Workers([%s])",
            ", ".join(idle),
            ", ".join(f'"{one}"' for one in idle),
            extra={"devices": idle},
        )


def _check_there(
    workers: Workers, named: Sequence[str], there: Sequence[str], system: System
) -> None:
    for one in named:
        if one != CPU and one not in there:
            devices = workers.devices
            given = list(devices) if isinstance(devices, tuple) else devices
            raise UsageError(
                f"Workers({given!r}): there is no {one}; there {_number_of([*there, CPU])}."
                f"{_hint(system)}"
            )


def _number_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"is only {names[0]}"
    return f"are only {', '.join(names[:-1])} and {names[-1]}"


def _hint(system: System) -> str:
    """Return a sentence on the variables that hide accelerators, if one is set."""
    hiding_here = [f"{name}={system.environ[name]}" for name in VARIABLES if name in system.environ]
    return f" {' and '.join(hiding_here)} may hide others." if hiding_here else ""
