"""Takes deliveries from the store and posts each one until it has arrived."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Protocol

from potassium.config import Webhooks
from potassium.errors import StoreFailed
from potassium.webhooks.model import Delivery, DeliveryAttempt, DeliveryStore, Full
from potassium.webhooks.poster import GONE, Poster
from potassium.webhooks.schedule import ATTEMPTS
from potassium.webhooks.shares import Shares
from potassium.webhooks.store_backoff import StoreBackoff

__all__ = ["Deliverer", "Posting"]

PLACES = 64  # attempts under way to the app's own URLs, and as many to clients' URLs
SHORTEST_SLEEP = 0.01  # seconds; no busy loop asks for what becomes due meanwhile
LONGEST_SLEEP = 60.0  # seconds; others may use the store, and clocks may be set
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

    At most ``Webhooks.per_host`` go to one host at a time, and to the hosts of one owner no more
    than there are places left for others, so that slow receivers hold up themselves alone, however
    many there are. Deliveries to clients' URLs have places of their own. A delivery that fails is
    retried on schedule, and a store that fails is asked again after a back-off. Belongs to one
    event loop, and is started and closed once.

    Args:
        is_durable: whether the store still has the deliveries after a restart.
        clock: returns seconds since the epoch.
        post: makes the attempts; a ``Poster`` by default.

    Attributes:
        attempts: how many were made, by what came of them: ``delivered``, ``failed`` (another one
            follows) or ``given_up``.

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
        self._places = {is_guarded: Shares(PLACES) for is_guarded in (False, True)}
        self._is_durable = is_durable
        self._clock = clock
        self._post = post or Poster(options, clock=clock)
        self._faults = StoreBackoff(clock)
        self.attempts: Counter[str] = Counter()
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._woken = asyncio.Event()
        self._closing = asyncio.Event()
        self._closing_at: float | None = None
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver. Call it on the event loop, before any method other than ``add``."""
        self._loop = asyncio.create_task(
            self._run(),
            name="potassium-deliverer",
            context=Context(),  # not that of the first call to post something
        )

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
        self._closing.set()
        self.wake()
        tasks = [] if self._loop is None else [self._loop]
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=within)
        finally:
            tasks += self._under_way
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSE_TIME)
            await self._post.aclose()
        if not self._is_durable:
            await self._log_lost()

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
        # Concurrently, so that both sides ask a store on disk in one transaction.
        sides = (self._turn_of(is_guarded) for is_guarded in self._places)
        own, clients = await asyncio.gather(*sides, return_exceptions=True)
        if isinstance(own, BaseException):
            raise own
        if isinstance(clients, BaseException):
            raise clients
        return min(own, clients)

    async def _turn_of(self, is_guarded: bool) -> float:  # noqa: FBT001 - one of the two sides
        """Do so on one side. A place that becomes free wakes the deliverer."""
        places = self._places[is_guarded]
        now = self._clock() if self._closing_at is None else self._closing_at
        while limit := places.room_for_all():
            hosts = self._hosts(is_guarded)
            busiest = max((n for n in hosts.values() if n < self._per_host), default=0)
            taken = await self._store.take_due(
                is_guarded=is_guarded,
                now=now,
                limit=limit,
                full=self._full(is_guarded),
                # That many are free at each host and for each owner that is not full.
                each=min(self._per_host - busiest, max(1, limit // 2)),
            )
            if not taken:
                break
            for delivery in taken:
                self._begin(delivery)
        if not limit or self._closing_at is not None:
            return LONGEST_SLEEP
        due_at = await self._store.next_due(is_guarded=is_guarded, full=self._full(is_guarded))
        if due_at is None:
            return LONGEST_SLEEP
        return min(max(due_at - self._clock(), SHORTEST_SLEEP), LONGEST_SLEEP)

    def _full(self, is_guarded: bool) -> Full:  # noqa: FBT001 - one of the two sides
        """Return the hosts and owners of one side that have all that they may."""
        hosts = self._hosts(is_guarded)
        return Full(
            hosts=[host for host, count in hosts.items() if count >= self._per_host],
            owners=self._places[is_guarded].full(),
        )

    def _hosts(self, is_guarded: bool) -> Counter[str]:  # noqa: FBT001 - one of the two sides
        """Return how many attempts are under way to each host of one side."""
        under_way = (one for one in self._under_way.values() if one.is_guarded == is_guarded)
        return Counter(delivery.host for delivery in under_way)

    def _begin(self, delivery: Delivery) -> None:
        self._places[delivery.is_guarded].take(delivery.owner)
        task = asyncio.create_task(self._deliver(delivery), name="potassium-webhook")
        self._under_way[task] = delivery
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        delivery = self._under_way.pop(task)
        self._places[delivery.is_guarded].give_back(delivery.owner)
        self.wake()

    async def _deliver(self, delivery: Delivery) -> None:
        attempt = await self._post(delivery)
        self.attempts[_outcome(attempt)] += 1
        if attempt.error is not None:
            _log_failure(delivery, attempt, self._clock())
        await self._keep(lambda: self._store.tried(delivery, attempt))
        if attempt.status == GONE and delivery.job_id is not None:
            await self._keep(lambda: self._store.stop(delivery))

    async def _keep(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write to the store, over and over until the write succeeds.

        Once the server stops, only once more: the next one posts again what was not written.
        """
        while True:
            try:
                return await write()
            except Exception as error:  # noqa: BLE001 - the outcome must not be lost
                pause = self._faults.came(error)
            if self._closing.is_set():
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._closing.wait()

    async def _log_lost(self) -> None:
        lost = 0
        with suppress(StoreFailed):
            lost = await self._store.undelivered()
        if lost:
            logger.error("%d webhook deliveries were lost when the server stopped", lost)


def _outcome(attempt: DeliveryAttempt) -> str:
    if attempt.error is None:
        return "delivered"
    return "given_up" if attempt.next_at is None else "failed"


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
        extra={
            "request_id": delivery.request_id,
            **({} if delivery.job_id is None else {"job_id": delivery.job_id}),
        },
    )
