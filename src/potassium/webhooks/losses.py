"""The log of deliveries that are dropped: one line now and then, however many there are."""

import logging
import time
from collections.abc import Callable

from potassium.webhooks.model import Delivery

__all__ = ["Losses"]

LOG_EVERY = 60.0  # seconds

logger = logging.getLogger("potassium.webhooks")


class Losses:
    """Counts deliveries that are dropped, and logs the first at once and then their number.

    Args:
        clock: returns monotonic seconds.

    Attributes:
        count: how many there were.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.count = 0
        self._logged_at: float | None = None
        self._unlogged = 0

    def add(self, delivery: Delivery, why: str) -> None:
        """Record that a delivery is dropped."""
        self.count += 1
        self._unlogged += 1
        now = self._clock()
        if self._logged_at is not None and now - self._logged_at < LOG_EVERY:
            return
        logger.error(
            "webhook to %s dropped: %s (request %s)%s",
            delivery.host,
            why,
            delivery.request_id,
            f", and {self._unlogged - 1} others since" if self._unlogged > 1 else "",
            extra={"request_id": delivery.request_id},
        )
        self._logged_at, self._unlogged = now, 0
