"""Which accelerators worker processes would have."""

from collections.abc import Iterable

from potassium.doctor.machine import Machine
from potassium.project.finding import Finding, note, ok

__all__ = ["workers"]


def workers(machine: Machine) -> Iterable[Finding]:
    """Say how many accelerators are visible, and what ``workers="auto"`` would use of them."""
    visible, usable = machine.accelerators()
    names = ", ".join(usable) or "the CPU"
    of_each = f"{len(usable)} workers" if len(usable) > 1 else "one worker"
    would = f'workers="auto" is {of_each}, on {names}'
    if not visible:
        yield ok("workers", f"No accelerator is visible: {would}")
    elif usable:
        yield ok("workers", f"{len(visible)} visible: {would}")
    else:
        yield note(
            "workers",
            f"{', '.join(visible)} visible, but torch is not built for them: {would}.",
            f"Install a build of torch that is, or name them: workers={list(visible)!r}",
        )
