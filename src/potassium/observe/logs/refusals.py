"""Bounds the lines that requests can cause for which no handler runs."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

__all__ = ["RefusalLimit"]

MOST = 100  # lines in each window
WINDOW = 1.0  # seconds

logger = logging.getLogger("potassium.access")


def _on_loop(seconds: float, call: Callable[[], object]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class RefusalLimit:
    """Passes so many lines a second, and says at the end of the second what it has left out.

    To be refused costs a client nothing, so it may be done thousands of times a second. Belongs to
    one event loop.

    Args:
        clock: monotonic seconds.
        later: calls a function in so many seconds.

    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], object]], object] = _on_loop,
    ) -> None:
        self._clock = clock
        self._later = later
        self._ends_at = 0.0
        self._passed = 0
        self._missing: Counter[str] = Counter()

    def passes(self, status: int, code: str) -> bool:
        """Return whether the line of a request that was refused with ``code`` is to be written."""
        now = self._clock()
        if now >= self._ends_at:
            self.tell()  # the event loop may have been late, or another one
            self._ends_at = now + WINDOW
            self._passed = 0
        if self._passed < MOST:
            self._passed += 1
            return True
        if not self._missing:
            self._later(self._ends_at - now, self.tell)
        self._missing[f"{status} {code}".rstrip()] += 1
        return False

    def tell(self) -> None:
        """Log how many lines were left out since this was last told, by status and code."""
        if not self._missing:
            return
        missing, kinds = self._missing.total(), self._missing.most_common()
        self._missing = Counter()
        logger.info(
            "%d more requests were refused, whose lines were left out: %s",
            missing,
            ", ".join(f"{kind} {count} times" for kind, count in kinds),
            extra={"left_out": missing},
        )
