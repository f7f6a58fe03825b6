"""Takes deliveries from the store and posts each one until it has arrived."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from potassium.config import Webhooks
from potassium.errors import StoreFailed
from potassium.webhooks.model import Delivery, DeliveryAttempt, DeliveryStore
from potassium.webhooks.poster import GONE, Poster
from potassium.webhooks.schedule import ATTEMPTS
from potassium.webhooks.store_backoff import StoreBackoff

__all__ = ["Deliverer", "Posting"]

MOST_AT_ONCE = 64  # attempts under way, to all hosts together
SHORTEST_SLEEP = 0.01  # seconds; no busy loop asks for what becomes due meanwhile
LONGEST_SLEEP = 60.0  # seconds; others may use the store, and clocks may be set
HOST_BUSY_SLEEP = 1.0  # seconds; the store does not say what is due next to other hosts
CLOSE_TIME = 1.0  # seconds for connections to close, once nobody waits for an answer

logger = logging.getLogger("potassium.webhooks")


class Posting(Protocol):
    """Makes delivery attempts; raises nothing, and is closed at the end."""

    async def __call__(self, delivery: Delivery) -> DeliveryAttempt:
        """Make one attempt."""

    async def aclose(self) -> None:
        """Close all connections."""


class Deliverer:
    """Takes due deliveries from a store and posts each one in its own task.

    At most ``Webhooks.per_host`` go to one host at a time, so that a slow host does not take the
    places of others. A delivery that fails is retried on schedule, and a store that fails is asked
    again after a back-off. Belongs to one event loop, and is started and closed once.

    Args:
        is_durable: whether the store still has the deliveries after a restart.
        clock: returns seconds since the epoch.
        post: makes the attempts; a ``Poster`` by default.

    """

    def __init__(
        self,
        store: DeliveryStore,
        options: Webhooks,
        *,
        is_durable: bool = True,
        clock: Callable[[], float] = time.time,
        post: Posting | None = None,
    ) -> None:
        self._store = store
        self._per_host = options.per_host
        self._is_durable = is_durable
        self._clock = clock
        self._post = post or Poster(options, clock=clock)
        self._faults = StoreBackoff(clock)
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._woken = asyncio.Event()
        self._closing_at: float | None = None
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver. Call it on the event loop, before any method other than ``add``."""
        self._loop = asyncio.create_task(self._run(), name="potassium-deliverer")

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery, and deliver it.

        Raises:
            StoreFailed: the delivery was not stored.

        """
        await self._store.add(delivery)
        self.wake()

    def wake(self) -> None:
        """Look for due deliveries: there may be a new one. Call it on the event loop."""
        self._woken.set()

    async def close(self, within: float) -> None:
        """Try what is due now, for ``within`` seconds at most, and stop.

        The rest stays in the store; if the store is not durable, the number lost is logged.
        Cancellation ends all attempts at once.
        """
        self._closing_at = self._clock()
        self.wake()
        tasks = [] if self._loop is None else [self._loop]
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=within)
        finally:
            cut_off = len(self._under_way)
            tasks += self._under_way
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSE_TIME)
            await self._post.aclose()
        if not self._is_durable:
            await self._log_lost(cut_off)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                delay = await self._turn()
                self._faults.over()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                delay = self._faults.came(error)
            is_closing = self._closing_at is not None
            if is_closing and not self._under_way and not self._woken.is_set():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._woken.wait()

    async def _turn(self) -> float:
        """Begin what is due; return the seconds until more may be due, unless woken before."""
        now = self._clock() if self._closing_at is None else self._closing_at
        while True:
            busy, limit = self._places()
            if limit < 1:
                return LONGEST_SLEEP
            taken = await self._store.take_due(now=now, limit=limit, without_hosts=busy)
            for delivery in taken:
                self._begin(delivery)
            if len(taken) < limit:
                break
        due_at = None if self._closing_at is not None else await self._store.next_due()
        if due_at is None:
            return LONGEST_SLEEP
        shortest = HOST_BUSY_SLEEP if busy else SHORTEST_SLEEP
        return min(max(due_at - self._clock(), shortest), LONGEST_SLEEP)

    def _places(self) -> tuple[list[str], int]:
        """Return the hosts that have enough, and how many more deliveries may begin to others.

        Every other host has at least that many places left: all that are taken may go to one host.
        """
        counts = Counter(delivery.host for delivery in self._under_way.values())
        busy = [host for host, count in counts.items() if count >= self._per_host]
        most = max((count for count in counts.values() if count < self._per_host), default=0)
        return busy, min(self._per_host - most, MOST_AT_ONCE - len(self._under_way))

    def _begin(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._deliver(delivery), name="potassium-webhook")
        self._under_way[task] = delivery
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self.wake()

    async def _deliver(self, delivery: Delivery) -> None:
        attempt = await self._post(delivery)
        if attempt.error is not None:
            _log_failure(delivery, attempt, self._clock())
        await self._keep(lambda: self._store.tried(delivery, attempt))
        job_id = delivery.job_id
        if attempt.status == GONE and job_id is not None:
            await self._keep(lambda: self._store.stop(job_id))

    async def _keep(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write to the store, over and over until the write succeeds."""
        while True:
            try:
                await write()
            except Exception as error:  # noqa: BLE001 - the outcome must not be lost
                await asyncio.sleep(self._faults.came(error))
            else:
                return

    async def _log_lost(self, cut_off: int) -> None:
        try:
            left = await self._store.take_due(now=math.inf, limit=2**31, without_hosts=())
        except StoreFailed:
            left = []
        lost = cut_off + len(left)
        if lost:
            logger.error("%d webhook deliveries were lost when the server stopped", lost)


def _log_failure(delivery: Delivery, attempt: DeliveryAttempt, now: float) -> None:
    logger.log(
        logging.ERROR if attempt.next_at is None else logging.WARNING,
        "webhook to %s failed: %s (attempt %d of %d, %srequest %s); %s",
        attempt.url,
        attempt.error,
        attempt.number,
        ATTEMPTS,
        "" if delivery.job_id is None else f"job {delivery.job_id}, ",
        delivery.request_id,
        "given up" if attempt.next_at is None else f"next attempt in {attempt.next_at - now:.0f} s",
        extra={"request_id": delivery.request_id, "job_id": delivery.job_id},
    )
