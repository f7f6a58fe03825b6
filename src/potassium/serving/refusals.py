"""Spreads refusals over the turns of the event loop."""

import asyncio
from collections import deque

__all__ = ["Refusals"]

AT_ONCE = 32  # refusals


class Refusals:
    """Lets only so many refused calls be answered in one turn of the event loop.

    Clients that ask again as soon as they are refused are refused thousands of times a second. If
    all of them were answered at once, a turn would take so long that everything else would wait for
    it: the reports of the GPU thread, health checks, background jobs. Belongs to the event loop.
    """

    def __init__(self) -> None:
        self._passed = 0  # in this turn
        self._line: deque[asyncio.Future[None]] = deque()
        self._is_due = False  # the next turn will be noticed

    async def turn(self) -> None:
        """Wait for a turn in which to answer one more; the first ones of a turn do not wait."""
        loop = asyncio.get_running_loop()
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._next_turn)
        if self._passed < AT_ONCE:
            self._passed += 1
            return
        place = loop.create_future()
        self._line.append(place)
        await place

    def _next_turn(self) -> None:
        self._passed = 0
        while self._line and self._passed < AT_ONCE:
            place = self._line.popleft()
            if not place.done():  # its call was not cancelled
                place.set_result(None)
                self._passed += 1
        self._is_due = self._passed > 0
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._next_turn)
