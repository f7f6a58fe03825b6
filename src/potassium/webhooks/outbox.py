"""Accepts what is to be posted, and stores it for the deliverer."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

from potassium.errors import StoreFailed
from potassium.http.trace_headers import NO_TRACE, TraceHeaders
from potassium.webhooks.losses import Losses
from potassium.webhooks.model import Delivery, DeliveryStore

__all__ = ["OUTBOX", "Outbox", "new_id"]


class Posting(Protocol):
    """Where handlers post; an ``Outbox``, or what stands for it in another process."""

    def post_from_thread(self, url: str, body: bytes, request_id: str) -> None:
        """Post ``body``, a JSON document, in the background; may be called on any thread."""


# The outbox of the app that the current handler belongs to; set in every thread of the app.
OUTBOX: ContextVar[Posting] = ContextVar("outbox")

# The most that may be on its way to the store; more would only pile up in memory.
MOST_PENDING = 256 * 1024 * 1024  # bytes
OVERHEAD = 4096  # bytes that a delivery takes beyond its body


class Outbox:
    """Stores deliveries in the background. Belongs to the event loop.

    Args:
        stored: called after each delivery is stored.
        trace: what continues in each delivery the trace of whoever posts it.
        clock: returns seconds since the epoch.

    """

    def __init__(
        self,
        store: DeliveryStore,
        stored: Callable[[], object],
        *,
        trace: TraceHeaders = NO_TRACE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._trace = trace
        self._stored = stored
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = 0  # bytes
        self._losses = Losses()

    @property
    def dropped(self) -> int:
        """How many deliveries were not stored."""
        return self._losses.count

    def post(self, url: str, body: bytes, request_id: str, *, is_guarded: bool = False) -> None:
        """Post ``body``, a JSON document, to ``url`` in the background; return at once."""
        now = self._clock()
        delivery = Delivery(
            id=new_id(),
            url=url,
            body=body,
            request_id=request_id,
            is_guarded=is_guarded,
            trace=self._trace.current(for_stranger=is_guarded),
            created_at=now,
            due_at=now,
        )
        size = len(body) + OVERHEAD
        if self._pending + size > MOST_PENDING:
            waiting = len(self._tasks)
            self._losses.add(delivery, f"{waiting} deliveries are already waiting to be stored")
            return
        self._pending += size
        task = asyncio.create_task(self._add(delivery), name="potassium-webhook")
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._arrived(task, size))

    def post_from_thread(self, url: str, body: bytes, request_id: str) -> None:
        """Do the same as ``post``, from any thread."""
        self._loop.call_soon_threadsafe(self.post, url, body, request_id)

    async def close(self) -> None:
        """Wait until everything that was posted is stored."""
        await asyncio.sleep(0)  # what threads have posted may not have got here yet
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _arrived(self, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        self._pending -= size

    async def _add(self, delivery: Delivery) -> None:
        try:
            await self._store.add(delivery)
        except StoreFailed as error:
            self._losses.add(delivery, error.detail)
        else:
            self._stored()


def new_id() -> str:
    """Return a new ``webhook-id``."""
    return f"msg_{secrets.token_hex(16)}"
