"""The back-off for a store that fails; its failures are logged only now and then."""

import logging
from collections.abc import Callable

from potassium.errors import StoreFailed

__all__ = ["StoreBackoff"]

FIRST_PAUSE = 1.0  # seconds; it doubles with each failure
LONGEST_PAUSE = 30.0  # seconds
LOG_EVERY = 60.0  # seconds; on a full disk everything fails

logger = logging.getLogger("potassium.webhooks")


class StoreBackoff:
    """How long to wait before a store that failed is asked again.

    However many ask at the same time, the pause doubles only once it is over: all of them are back
    soon after the store is, at the latest after as long again as it was away.

    Args:
        clock: returns seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._in_a_row = 0
        self._until = 0.0
        self._logged_at: float | None = None

    def came(self, error: Exception) -> float:
        """Record a failure; return the seconds to wait before the store is asked again."""
        now = self._clock()
        if self._logged_at is None or not 0 <= now - self._logged_at < LOG_EVERY:
            self._logged_at = now
            logger.error(
                "the store of webhook deliveries failed and will be retried: %s",
                error,
                exc_info=None if isinstance(error, StoreFailed) else error,
            )
        left = self._until - now
        if 0 < left <= LONGEST_PAUSE:  # more than that if the clock was set
            return left
        pause = min(FIRST_PAUSE * 2.0 ** min(self._in_a_row, 16), LONGEST_PAUSE)
        self._in_a_row += 1
        self._until = now + pause
        return pause

    def over(self) -> None:
        """Record that the store works."""
        self._in_a_row = 0
        self._until = 0.0
