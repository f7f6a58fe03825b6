"""The webhook service: stores what it is given, and posts it in the background."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from potassium.config import Webhooks
from potassium.http.trace_headers import NO_TRACE, TraceHeaders
from potassium.webhooks.model import DeliveryStore
from potassium.webhooks.outbox import Outbox

if TYPE_CHECKING:
    from potassium.webhooks.deliverer import Deliverer, Posting

__all__ = ["WebhookService"]

LAST_DELIVERIES = 10.0  # seconds that deliveries have to end in, once everything else has ended


class WebhookService:
    """Owns the outbox, and the deliverer, which starts when there is something to post.

    The caller owns the store, and must open it before and close it after. Belongs to one event
    loop.

    Args:
        is_durable: whether the store still has the deliveries after a restart.
        of_posting: returns what makes the attempts in place of what it is given.

    Attributes:
        trace: what continues a trace in the deliveries.
        outbox: takes what is to be posted.

    """

    def __init__(
        self,
        store: DeliveryStore,
        options: Webhooks,
        *,
        is_durable: bool,
        trace: TraceHeaders = NO_TRACE,
        of_posting: "Callable[[Posting], Posting]" = lambda post: post,
    ) -> None:
        self._store = store
        self._options = options
        self._is_durable = is_durable
        self.trace = trace
        self._of_posting = of_posting
        self.outbox = Outbox(store, self.wake, trace=trace, clock=store.clock)
        self._deliverer: Deliverer | None = None

    @property
    def attempts(self) -> Mapping[str, int]:
        """How many attempts were made, by what came of them, see ``Deliverer``."""
        return {} if self._deliverer is None else self._deliverer.attempts

    @property
    def dropped(self) -> int:
        """How many deliveries were dropped, because there was no room or they were not stored."""
        return self.outbox.dropped + self._store.dropped

    async def undelivered(self) -> int:
        """Return how many deliveries have neither arrived nor been given up.

        Raises:
            StoreFailed: the store cannot be read.

        """
        return await self._store.undelivered()

    def is_kept_by(self, store: DeliveryStore) -> bool:
        """Return whether this service posts what is in ``store``."""
        return self._store is store

    def wake(self) -> None:
        """Look for due deliveries; the first call starts the deliverer."""
        if self._deliverer is None:
            from potassium.webhooks.deliverer import Deliverer  # noqa: PLC0415 - imports httpx
            from potassium.webhooks.poster import Poster  # noqa: PLC0415

            self._deliverer = Deliverer(
                self._store,
                self._options,
                is_durable=self._is_durable,
                clock=self._store.clock,
                post=self._of_posting(Poster(self._options, clock=self._store.clock)),
            )
            self._deliverer.start()
        self._deliverer.wake()

    async def close(self) -> None:
        """Store what was handed over, try what is due, and stop; in about ten seconds at most."""
        await self.outbox.close()
        if self._deliverer is not None:
            await self._deliverer.close(LAST_DELIVERIES)
