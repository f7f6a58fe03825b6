"""Jobs and deliveries for tests of the stores."""

from itertools import count
from typing import Any

from potassium.jobs.model import NewJob
from potassium.webhooks.model import Delivery, DeliveryAttempt, DeliveryStore, Full

__all__ = ["NOW", "attempt", "delivery", "new_job", "take_due"]

NOW = 1_000_000.0  # seconds since the epoch; the stores have no clock of their own

_numbers = count()


def new_job(**values: Any) -> NewJob:
    """Return a job for ``/train`` with an id of its own, submitted at ``NOW``."""
    given = {
        "id": f"job-{next(_numbers)}",
        "handler": "/train",
        "body": b"{}",
        "request_id": "r-1",
        "created_at": NOW,
    }
    return NewJob(**{**given, **values})


def delivery(**values: Any) -> Delivery:
    """Return a delivery to ``a.test`` with an id of its own, due at ``NOW``."""
    given = {
        "id": f"msg-{next(_numbers)}",
        "url": "https://a.test/done",
        "body": b"{}",
        "request_id": "r-1",
        "created_at": NOW,
        "due_at": NOW,
    }
    return Delivery(**{**given, **values})


def attempt(of: Delivery, *, next_at: float | None, at: float = NOW) -> DeliveryAttempt:
    """Return an attempt that was answered with 500, or with 204 if ``next_at`` is None."""
    return DeliveryAttempt(
        delivery_id=of.id,
        url="https://a.test/done",
        number=of.attempts + 1,
        at=at,
        duration=0.5,
        status=204 if next_at is None else 500,
        error=None if next_at is None else "the receiver answered 500",
        next_at=next_at,
    )


async def take_due(store: DeliveryStore, *, now: float = NOW, limit: int = 9) -> list[Delivery]:
    """Take up to ``limit`` deliveries that are due, whomever they are for."""
    taken: list[Delivery] = []
    for is_guarded in (False, True):
        while len(taken) < limit and (
            turn := await store.take_due(
                is_guarded=is_guarded, now=now, limit=limit - len(taken), full=Full()
            )
        ):
            taken += turn
    return taken
