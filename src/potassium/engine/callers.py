"""How many callers an operation has."""

__all__ = ["Callers"]

WINDOW = 0.1  # seconds; who has not called for one or two of these is not expected any more


class Callers:
    """Counts the calls that are open at a time, and remembers the most of late.

    A caller that waits for its answer before it calls again shows in that count. So where as many
    wait as have been open at a time lately, no more are to be expected.
    """

    __slots__ = ("_before", "_most", "_since", "open")

    def __init__(self) -> None:
        """Begin with nobody."""
        self.open = 0
        self._most = 0  # in the window that runs
        self._before = 0  # in the one before it
        self._since = 0.0

    def came(self, now: float) -> None:
        """Note a call."""
        self._turn(now)
        self.open += 1
        self._most = max(self._most, self.open)

    def went(self, now: float) -> None:
        """Note that a call is over."""
        self._turn(now)
        self.open -= 1

    def expected(self, now: float) -> int:
        """Return how many callers there are, those included who wait."""
        self._turn(now)
        return max(self._most, self._before)

    def _turn(self, now: float) -> None:
        if now - self._since >= WINDOW:
            self._before = self._most if now - self._since < 2 * WINDOW else self.open
            self._most = self.open
            self._since = now
