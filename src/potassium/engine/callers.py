"""How many callers an operation has."""

__all__ = ["Callers"]

WINDOW = 0.1  # seconds; a caller that has not called for one or two of these is no longer expected


class Callers:
    """Counts the open calls, and remembers the highest recent count.

    A caller that waits for its answer before it calls again is part of that count. So if as many
    calls wait as were open at a time recently, no more are expected.
    """

    __slots__ = ("_before", "_most", "_since", "open")

    def __init__(self) -> None:
        self.open = 0
        self._most = 0  # in the current window
        self._before = 0  # in the one before it
        self._since = 0.0

    def came(self, now: float) -> None:
        """Note that a call has arrived."""
        self._turn(now)
        self.open += 1
        self._most = max(self._most, self.open)

    def went(self, now: float) -> None:
        """Note that a call is over."""
        self._turn(now)
        self.open -= 1

    def expected(self, now: float) -> int:
        """Return the number of callers, including those that are waiting."""
        self._turn(now)
        return max(self._most, self._before)

    def _turn(self, now: float) -> None:
        if now - self._since >= WINDOW:
            self._before = self._most if now - self._since < 2 * WINDOW else self.open
            self._most = self.open
            self._since = now
