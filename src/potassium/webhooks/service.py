"""Webhooks as the rest of the server sees them: what is handed over is posted in time."""

from typing import TYPE_CHECKING

from potassium.config import Webhooks
from potassium.webhooks.model import DeliveryStore
from potassium.webhooks.outbox import Outbox

if TYPE_CHECKING:
    from potassium.webhooks.deliverer import Deliverer

__all__ = ["WebhookService"]

LAST_DELIVERIES = 10.0  # seconds that deliveries under way have to end in, when all else has


class WebhookService:
    """Owns what posts results onward; begins with the first thing to post. Of one event loop.

    The store is its caller's, who opens it before and closes it after.

    Attributes:
        outbox: takes what is to be posted.

    """

    def __init__(self, store: DeliveryStore, options: Webhooks, *, is_durable: bool) -> None:
        """Deliver what is in ``store``, which still has it after a restart if ``is_durable``."""
        self._store = store
        self._options = options
        self._is_durable = is_durable
        self.outbox = Outbox(store, self.wake)
        self._deliverer: Deliverer | None = None

    def wake(self) -> None:
        """Look for what is to be delivered; the first time, begin to."""
        if self._deliverer is None:
            from potassium.webhooks.deliverer import Deliverer  # noqa: PLC0415 - imports httpx

            self._deliverer = Deliverer(self._store, self._options, is_durable=self._is_durable)
            self._deliverer.start()
        self._deliverer.wake()

    async def close(self) -> None:
        """Store what was handed over, try what is due, and end; in about ten seconds at most."""
        await self.outbox.close()
        if self._deliverer is not None:
            await self._deliverer.close(LAST_DELIVERIES)
