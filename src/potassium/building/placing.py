"""Puts a folder in the place of another one, at once."""

import ctypes
import os
import shutil
from pathlib import Path

__all__ = ["put_in_place"]

AT_FDCWD = -100
RENAME_EXCHANGE = 2  # renameat2(2)


def put_in_place(new: Path, place: Path) -> None:
    """Let ``new`` be what ``place`` is, and remove what was there.

    At any time, one of the two is there, if the system can exchange them.

    Raises:
        OSError: that is not permitted.

    """
    if not place.exists():
        new.rename(place)
        return
    if not _exchanged(new, place):
        old = new.with_name(f"{new.name}.old")
        place.rename(old)
        new.rename(place)
        new = old
    shutil.rmtree(new)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders; return whether that was possible."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(rename(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) == 0)
