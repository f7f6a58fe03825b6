"""Versions of Python and of libraries, and the clock."""

import re
import sysconfig
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from potassium.doctor.machine import Machine, ProgramError
from potassium.project.finding import Finding, note, ok, problem

__all__ = ["clock", "libraries", "python"]

OLDEST = (3, 11)
DAY = 24 * 60 * 60.0

# Such as: brotli>=1.2; extra == "compression"
REQUIREMENT = re.compile(r"([\w.-]+)\s*>=\s*([\d.]+)\s*(?:;\s*(.*))?")
EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)")

SHOWN = ("uvicorn", "uvloop", "httptools", "starlette", "pydantic")


def python(machine: Machine) -> Iterable[Finding]:
    """Look at the version of Python."""
    version = ".".join(map(str, machine.python))
    if machine.python[:2] < OLDEST:
        yield problem("Python", f"{version} is too old.", "Install Python 3.11 or newer.")
    elif sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield note(
            "Python",
            f"{version} is the build without the GIL, with which Potassium is not tested.",
            "Take the usual build.",
        )
    else:
        yield ok("Python", version)


def libraries(machine: Machine) -> Iterable[Finding]:
    """Look for libraries that are missing or too old, and for those that do not fit together."""
    faults = [*_requirements(machine), *_pairs(machine)]
    yield from faults
    if not faults:
        shown = [f"{name} {machine.version(name)}" for name in SHOWN if machine.version(name)]
        yield ok("libraries", ", ".join(shown))


def _requirements(machine: Machine) -> Iterator[Finding]:
    for requirement in machine.requirements:
        if not (match := REQUIREMENT.fullmatch(requirement)):
            continue
        name, least, marker = match[1], match[2], match[3] or ""
        extra = EXTRA.search(marker)
        version = machine.version(name)
        if version is None and (extra or ("win32" in marker and machine.system == "Windows")):
            continue
        if version is None:
            yield problem("libraries", f"{name} is missing.", f'pip install "{name}>={least}"')
        elif _numbers(version) < _numbers(least):
            yield problem(
                "libraries",
                f"{name} {version} is older than {least}, which Potassium needs.",
                f'pip install "{name}>={least}"',
            )


def _pairs(machine: Machine) -> Iterator[Finding]:
    """Yield libraries that do not work together."""
    torch, numpy = machine.version("torch"), machine.version("numpy")
    # https://github.com/pytorch/pytorch/issues/107302
    if torch and numpy and _numbers(torch) < [2, 3] and _numbers(numpy) >= [2]:
        yield problem(
            "libraries",
            f"torch {torch} was built for numpy 1, and numpy is {numpy}: tensors do not become "
            "arrays.",
            'pip install "numpy<2"',
        )


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version, without what follows them: ``2.13.0+cpu``."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return [int(one) for one in match[0].split(".")] if match else []


def clock(machine: Machine) -> Iterable[Finding]:
    """Look at whether the clock can be right: certificates and signatures depend on it."""
    shown = datetime.fromtimestamp(machine.now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if machine.now < machine.installed_at - DAY:
        yield problem(
            "clock",
            f"It says {shown}, which is before Potassium was installed: certificates seem to be "
            "invalid, and receivers refuse signatures.",
            "sudo timedatectl set-ntp true",
        )
        return
    if not machine.is_container:
        try:
            command = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
            is_synchronized = machine.run(command, 5.0).strip() != "no"
        except ProgramError:  # no systemd
            is_synchronized = True
        if not is_synchronized:
            yield note(
                "clock",
                f"It says {shown}, and nothing keeps it right.",
                "sudo timedatectl set-ntp true",
            )
            return
    yield ok("clock", shown)
