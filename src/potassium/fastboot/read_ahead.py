"""Lets the system read from the disk what a start is about to need, while the process goes on."""

import os
import threading
from pathlib import Path

from potassium.fastboot.manifest import TENSORS
from potassium.fastboot.trusted import opened
from potassium.fastboot.unfit import Unfit
from potassium.prefetch import prefetch

__all__ = ["NEEDED", "read_ahead"]

NEEDED = "needed.txt"  # the files of the libraries and modules of a restored process, a line each

MOST = 0.5  # of the memory: tensors that take more would push out what else is read


def read_ahead(snapshot: Path) -> threading.Thread | None:
    """Begin to read the modules that a restored process needs, and then the tensors.

    Return the thread that does, or None if there is nothing to do: all is in memory already, or the
    snapshot is not there or cannot be trusted. Nothing is promised by it: what a start uses, it
    checks itself.
    """
    try:
        with opened(snapshot) as folder:
            needed = folder.read(NEEDED).decode(errors="surrogateescape").splitlines()
    except Unfit:
        return None
    files = [] if all(map(_is_in_memory, needed[:1])) else needed
    tensors = snapshot / TENSORS
    if not _is_in_memory(tensors) and tensors.stat().st_size < MOST * _memory():
        files = [*files, str(tensors)]
    if not files:
        return None
    thread = threading.Thread(
        target=prefetch, args=(files,), name="potassium-read-ahead", daemon=True
    )
    thread.start()
    return thread


def _is_in_memory(path: str | Path) -> bool:
    """Return whether a read of the file's middle would not wait; so if nobody can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        os.preadv(descriptor, [bytearray(1)], os.fstat(descriptor).st_size // 2, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):  # a file system that cannot tell; not Linux
        return True
    finally:
        os.close(descriptor)
    return True


def _memory() -> int:
    """Return how many bytes of memory the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
