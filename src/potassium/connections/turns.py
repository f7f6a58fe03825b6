"""Spreads refusals over turns of the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Turns"]

PER_TURN = 32


class Turns:
    """Lets a bounded number of refusals through in each turn of the event loop.

    A client that is refused may retry at once. If a thousand clients were answered in one turn, the
    next turn would read and refuse a thousand requests: nothing else would happen for tens of
    milliseconds, and the GPU thread would run out of work. Belongs to one event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = PER_TURN
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_due = False

    def take(self, go: Callable[[], object]) -> None:
        """Call ``go`` when another refusal may be sent: now, or in a later turn."""
        if not self._is_due:
            self._is_due = True
            self._left = PER_TURN
            self._loop.call_soon(self._next_turn)
        if self._left > 0:
            self._left -= 1
            go()
        else:
            self._waiting.append(go)

    def _next_turn(self) -> None:
        self._left = PER_TURN
        self._is_due = bool(self._waiting)
        if self._is_due:  # first: a connection that fails must not hold up those of others
            self._loop.call_soon(self._next_turn)
        while self._left and self._waiting:
            self._left -= 1
            self._waiting.popleft()()
