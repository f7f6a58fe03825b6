"""What the stores of background jobs and webhooks hold."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from potassium.errors import PotassiumError
from potassium.webhooks.service import WebhookService

if TYPE_CHECKING:
    from potassium.jobs.model import Census
    from potassium.jobs.service import JobService

__all__ = ["PATIENCE", "Held"]

PATIENCE = 1.0  # seconds that a store may take; whoever asks must not wait for one that hangs

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Held:
    """What the stores of a running app hold.

    Attributes:
        census: its jobs; None if it has none, or if their store does not answer.
        undelivered: how many deliveries wait; None if their store does not answer.

    """

    census: "Census | None"
    undelivered: int | None

    @classmethod
    async def by(cls, jobs: "JobService | None", webhooks: WebhookService) -> "Held":
        """Ask the stores, for ``PATIENCE`` seconds at most; one that fails is left out."""
        census, undelivered = await asyncio.gather(
            _in_time(_nothing() if jobs is None else jobs.store.census()),
            _in_time(webhooks.undelivered()),
        )
        return cls(census=census, undelivered=undelivered)


async def _nothing() -> None:
    return None


async def _in_time(asked: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await asked
    except (PotassiumError, TimeoutError):
        return None
