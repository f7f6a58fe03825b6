"""Looks at everything, one probe after another."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from potassium.doctor import (
    capacity,
    database,
    environment,
    folders,
    gpus,
    network,
    software,
    torch_build,
    workers,
)
from potassium.doctor.machine import Machine
from potassium.project.finding import Finding, note

__all__ = ["PROBES", "Probe", "examine"]

Probe = Callable[[Machine], Iterable[Finding]]

PROBES: Sequence[Probe] = (
    software.python,
    software.libraries,
    gpus.nvidia,
    gpus.hidden,
    gpus.memory,
    gpus.amd,
    torch_build.torch_build,
    workers.workers,
    capacity.cpus,
    capacity.memory,
    capacity.shared_memory,
    capacity.open_files,
    folders.caches,
    folders.jobs,
    database.jobs,
    network.port,
    network.host,
    network.proxies,
    environment.names,
    environment.values,
    environment.debugging,
    software.clock,
)


def examine(machine: Machine, probes: Sequence[Probe] = PROBES) -> Iterator[Finding]:
    """Yield what each probe finds; one that fails is a finding, too."""
    for probe in probes:
        try:
            yield from probe(machine)
        except Exception as error:  # noqa: BLE001 - machines are stranger than anybody thinks
            name = probe.__name__.replace("_", " ")
            yield note(name, f"It could not be looked at: {type(error).__name__}: {error}")
