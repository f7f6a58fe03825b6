"""Where the snapshots of what ``init`` loads lie."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from potassium.config import fastboot
from potassium.handlers.functions import file_of, name_of

__all__ = ["place_of", "read_ahead_for"]

FOLDER = Path(".potassium", "fastboot")
NOT_IN_NAMES = r"[^\w.]+"  # of folders: those of functions may have angle brackets


def place_of(function: Callable[..., Any]) -> Path | None:
    """Return the folder of the snapshot of what ``function`` loads; None if it is in no file.

    It is the one that ``POTASSIUM_FASTBOOT`` names. Otherwise, it is beside the file of the
    function, and called like that and the function, so that the apps of one folder have a snapshot
    each.
    """
    if isinstance(named := fastboot(), Path):
        return named.absolute()
    file = file_of(function)
    if file is None or Path(file).suffix != ".py":
        return None
    path = Path(file).resolve()
    return path.parent / FOLDER / f"{path.stem}.{re.sub(NOT_IN_NAMES, '-', name_of(function))}"


def read_ahead_for(folder: Path, module: str) -> None:
    """Let the system read what an app is about to need, if there is a snapshot for it.

    Args:
        folder: where its module is found, which has not been imported so far.
        module: the name of that.

    """
    how = fastboot()
    if how == "off":
        return
    *packages, name = module.split(".")
    beside = folder.joinpath(*packages, FOLDER)
    for snapshot in [how.absolute()] if isinstance(how, Path) else beside.glob(f"{name}.*"):
        from potassium.fastboot.read_ahead import read_ahead  # noqa: PLC0415 - where there is one

        read_ahead(snapshot)
