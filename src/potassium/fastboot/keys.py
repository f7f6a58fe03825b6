"""Where a snapshot fits: only where everything is as it was when it was made."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from potassium.accelerators.visible import own_device
from potassium.fastboot.manifest import Keys
from potassium.fastboot.unfit import Unfit

__all__ = [
    "accelerator",
    "check",
    "check_accelerator",
    "digest_of",
    "facts_of",
    "software",
    "value_of",
]

PYTHON, MACHINE = "Python", "machine"
SECOND = 10**9  # nanoseconds


def check(keys: Keys, folder: Path, init: str, device: str | None) -> None:
    """Check that a snapshot fits here, in all that can be seen without torch.

    Args:
        keys: what it was made with.
        folder: the folder of the app, where relative paths begin.
        init: the full name of the function.
        device: what that is told.

    Raises:
        Unfit: something differs; the first difference is named.

    """
    for difference in _differences(keys, folder, init, device):
        raise Unfit(difference)


def check_accelerator(keys: Keys) -> None:
    """Check that the device is of the same kind; imports torch if the snapshot has to do with it.

    Raises:
        Unfit: it is of another kind.

    """
    if "torch" in keys.software:
        import torch  # noqa: F401, PLC0415 - it is what knows the device

    if (now := accelerator()) != keys.accelerator:
        raise Unfit(f"it was made for {keys.accelerator}, and this is {now}")


def _differences(keys: Keys, folder: Path, init: str, device: str | None) -> Iterator[str]:
    if keys.init != init:
        yield f"it is of the function {keys.init}, and that of the app is {init}"
    if keys.device != device:
        yield f"init was told the device {keys.device}, and would be told {device} here"
    now = software(keys.software)
    for name, before in keys.software.items():
        if now[name] != before:
            yield f"{name} is {now[name] or 'not there'}, and was {before}"
    yield from _differences_on_disk(keys, folder)
    for name, digest in keys.environment.items():
        if value_of(name, os.environ) != digest:
            yield f"the environment variable {name}, which init reads, has another value"


def _differences_on_disk(keys: Keys, folder: Path) -> Iterator[str]:
    for path, digest in keys.sources.items():
        if digest_of(folder / path) != digest:
            yield f"{path} has changed"
    for path, facts in keys.files.items():
        if not _is_same(facts, facts_of(folder / path)):
            yield f"{path}, which init {'reads' if facts else 'looks for'}, has changed"


def software(names: Mapping[str, Any] | frozenset[str]) -> dict[str, str]:
    """Return the versions of these, and of Python and the machine; empty for what is not there."""
    found = {PYTHON: sys.version.split()[0], MACHINE: f"{sys.platform} {platform.machine()}"}
    for name in names:
        if name not in found:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = ""
    return found


def accelerator() -> str:
    """Return the kind of device that there is here, such as ``"cpu"`` or ``"cuda 9.0"``."""
    kind = own_device().partition(":")[0]
    torch: Any = sys.modules.get("torch")
    if kind == "cuda" and torch is not None:
        major, minor = torch.cuda.get_device_capability()
        return f"{kind} {major}.{minor}"
    return kind


def _is_same(before: tuple[int, int] | None, now: tuple[int, int] | None) -> bool:
    """Return whether a file is as it was: images and archives keep the seconds of its time only."""
    if before is None or now is None:
        return before is now
    is_cut = now[1] % SECOND == 0 and now[1] // SECOND == before[1] // SECOND
    return now[0] == before[0] and (now[1] == before[1] or is_cut)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file; empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def value_of(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the SHA-256 of a variable, so that no secret is stored; None if it is not set."""
    value = environ.get(name)
    return None if value is None else hashlib.sha256(value.encode(errors="replace")).hexdigest()


def facts_of(path: Path) -> tuple[int, int] | None:
    """Return the size of a file and its time of change, in nanoseconds; None if it is not there."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns
