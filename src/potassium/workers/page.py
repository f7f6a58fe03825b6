"""Memory that the front shares with a worker: what the worker is doing, also once it is dead.

The worker writes, the front reads. Every figure is one aligned word, so it is read as it was
written. Behind the figures, each call that the worker has been given has a byte of its own, its
slot: the worker sets it when the call begins. So the front knows what a dead worker had begun.
"""

import mmap
import os
import struct
from math import nan

__all__ = ["SLOTS", "Page"]

SIZE = 64 * 1024
SLOTS = SIZE - 64  # calls that a worker may have at a time
SINCE, PROGRESSED_AT, BUSY, BUSY_SINCE = range(4)  # among the times
AT_REST = struct.Struct("<Qd")  # the current call, and since when


class Page:
    """Some shared memory.

    Attributes:
        fd: the file that it is in, for the process that shares it; its owner closes it.
        times: the figures in seconds, see the properties.

    """

    def __init__(self, fd: int | None = None) -> None:
        """Map the page in file ``fd``, or make a new one."""
        if fd is None:
            fd = _new_file()
            os.ftruncate(fd, SIZE)
        self.fd = fd
        self._map = mmap.mmap(fd, SIZE)
        view = memoryview(self._map)
        self._ids = view[:8].cast("Q")
        self.times = view[8:64].cast("d")
        self._slots = view[64:]

    @property
    def current(self) -> int:
        """The id of the call that the model is running; 0 for none."""
        return self._ids[0]

    @current.setter
    def current(self, call: int) -> None:
        self._ids[0] = call

    @property
    def since(self) -> float:
        """When it began to run that one, or to be idle, in monotonic seconds."""
        return self.times[SINCE]

    @since.setter
    def since(self, at: float) -> None:
        self.times[SINCE] = at

    @property
    def progressed_at(self) -> float:
        """When that one last told that it goes on."""
        return self.times[PROGRESSED_AT]

    @progressed_at.setter
    def progressed_at(self, at: float) -> None:
        self.times[PROGRESSED_AT] = at

    @property
    def busy(self) -> float:
        """The seconds that it has spent on what has ended."""
        return self.times[BUSY]

    @busy.setter
    def busy(self, seconds: float) -> None:
        self.times[BUSY] = seconds

    @property
    def busy_since(self) -> float | None:
        """When it began what has not ended; None if it is idle."""
        since = self.times[BUSY_SINCE]
        return None if since != since else since  # noqa: PLR0124 - NaN

    @busy_since.setter
    def busy_since(self, at: float | None) -> None:
        self.times[BUSY_SINCE] = nan if at is None else at

    def rest(self, now: float, spent: float) -> None:
        """Note that the model is idle from ``now`` on, after it was busy for ``spent`` seconds."""
        AT_REST.pack_into(self._map, 0, 0, now)
        times = self.times
        times[BUSY_SINCE] = nan
        times[BUSY] += spent

    def begin(self, slot: int) -> None:
        """Note that the call in ``slot`` begins."""
        self._slots[slot] = 1

    def has_begun(self, slot: int) -> bool:
        """Return whether the call in ``slot`` has begun."""
        return self._slots[slot] == 1

    def clear(self, slot: int) -> None:
        """Let the slot be that of a new call, which has not begun."""
        self._slots[slot] = 0

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._ids, self.times, self._slots):
            view.release()
        self._map.close()
        os.close(self.fd)


def _new_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("potassium-worker", os.MFD_CLOEXEC)
    import tempfile  # noqa: PLC0415 - not Linux

    fd, path = tempfile.mkstemp(prefix="potassium-worker")
    os.unlink(path)  # noqa: PTH108 - it is a descriptor that is needed
    return fd
