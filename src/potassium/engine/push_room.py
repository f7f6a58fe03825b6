"""How far handlers that push chunks may be ahead of their readers."""

import threading
import time
from collections.abc import Callable

from potassium.config import Limits

__all__ = ["PushRoom", "PushShare"]


class PushRoom:
    """Bounds what handlers have pushed and their readers have not taken, in all calls together.

    A generator steps aside until its reader has caught up. A handler that pushes keeps the GPU
    thread meanwhile, and with it everybody else. So it may be further ahead, and it waits for its
    reader for a bounded time only. May be used on any thread.

    Attributes:
        limits: ``send_buffer`` and ``send_timeout`` bound one call, ``send_memory`` all of them.
        changed: notified when one of them is less far ahead, or need not wait any more.
        ahead: bytes that all of them are ahead.

    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.changed = threading.Condition()
        self.ahead = 0


class PushShare:
    """What one stream takes of the room.

    Attributes:
        changed: the room's; its lock also keeps several threads of a handler apart.

    """

    __slots__ = ("_ahead", "_is_closed", "_room", "_waited", "changed")

    def __init__(self, room: PushRoom) -> None:
        self.changed = room.changed
        self._room = room
        self._ahead = 0
        self._waited = 0.0  # seconds, in all
        self._is_closed = False

    def count(self, ahead: Callable[[], int]) -> None:
        """Note how many bytes the stream is ahead, which has changed."""
        with self.changed:
            if not self._is_closed:
                self._set(ahead())

    def close(self) -> None:
        """Give back what the stream takes: nobody reads it any more."""
        with self.changed:
            self._is_closed = True
            self._set(0)

    def wait(self, need_not: Callable[[], bool], *, forever: bool) -> bool:
        """Block while the stream is too far ahead, unless it need not wait.

        Return False if the call has waited for too long, in all, unless it may wait ``forever``.
        """
        limits = self._room.limits
        with self.changed:
            while not (need_not() or self._has_room()):
                left = None if forever else limits.send_timeout - self._waited
                if left is not None and left <= 0:
                    return False
                began = time.monotonic()
                self.changed.wait(left)
                self._waited += time.monotonic() - began
        return True

    def _has_room(self) -> bool:
        limits = self._room.limits
        return self._ahead < limits.send_buffer and self._room.ahead < limits.send_memory

    def _set(self, ahead: int) -> None:
        self._room.ahead += ahead - self._ahead
        self._ahead = ahead
        self.changed.notify_all()
