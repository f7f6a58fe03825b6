"""What a disk takes when every write has to be on it before the next one."""

import os
import time
from pathlib import Path

RECORD = os.urandom(512)  # about what a job of a small body comes to


def synced(folder: Path, *, together: int, seconds: float) -> float:
    """Return how many records a second are appended to a file, each on the disk when counted.

    Args:
        folder: where the file is made, and deleted.
        together: records that one ``fsync`` is for.
        seconds: for how long.

    """
    path = folder / "synced"
    records = 0
    with path.open("wb", buffering=0) as file:
        began = time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            file.write(RECORD * together)
            os.fsync(file.fileno())
            records += together
    path.unlink()
    return records / spent
