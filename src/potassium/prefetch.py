"""Asks the system to read files before they are needed."""

import os
from collections.abc import Iterable

__all__ = ["prefetch"]


def prefetch(files: Iterable[str]) -> int:
    """Let the system read ``files`` into memory while this process goes on; return how many it can.

    That spares a process whose files are not in memory waits for the disk between them, as for the
    modules that it is about to import. Of those in memory, nothing is read. Those that are not
    there, or not regular files, are left out. Nothing happens where there is no ``posix_fadvise``.
    """
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return 0
    count = 0
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            advise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            count += 1
        except OSError:  # a pipe, or a file system without a cache
            pass
        finally:
            os.close(descriptor)
    return count
