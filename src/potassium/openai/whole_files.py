"""Files that are there as a whole or not at all."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

__all__ = ["sync_folder", "write_synced", "write_whole"]


def write_whole(path: Path, data: bytes, *, synced: bool = True) -> None:
    """Write a file, in place of the one that is there; raises OSError.

    Without ``synced``, the file may be the old one or empty after the power has failed.
    """
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        if synced:
            write_synced(part, [data])
        else:
            part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if synced:
        sync_folder(path.parent)


def write_synced(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file, and wait until the disk has it; raises OSError."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names of the files in a folder; raises OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
