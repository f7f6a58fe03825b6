"""Spreads refusals over turns of the event loop."""

import asyncio
from collections import deque

__all__ = ["Refusals"]

PER_TURN = 32


class Refusals:
    """Lets a bounded number of refusals go in each turn of the event loop.

    A client that is refused may ask again at once. If a thousand of them were answered in one turn,
    the next one would read and refuse a thousand requests: nothing else would happen for tens of
    milliseconds, and the GPU thread would run dry. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._left = PER_TURN
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_due = False

    async def turn(self) -> None:
        """Wait until one more refusal may go."""
        loop = asyncio.get_running_loop()
        if not self._is_due:
            self._is_due = True
            self._left = PER_TURN
            loop.call_soon(self._next_turn, loop)
        if self._left > 0:
            self._left -= 1
            return
        place = loop.create_future()
        self._waiting.append(place)
        await place

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = PER_TURN
        while self._left and self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # it is done if the request was cancelled
                place.set_result(None)
                self._left -= 1
        self._is_due = bool(self._waiting)
        if self._is_due:
            loop.call_soon(self._next_turn, loop)
