"""Measure how fast a disk is if every write must be on it before the next one."""

import os
import time
from pathlib import Path

RECORD = os.urandom(512)  # about the size of a job with a small body


def synced(folder: Path, *, together: int, seconds: float) -> float:
    """Return how many records per second are appended to a file, counted once they are on the disk.

    Args:
        folder: where the file is created and deleted.
        together: records per ``fsync``.
        seconds: how long to measure.

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
