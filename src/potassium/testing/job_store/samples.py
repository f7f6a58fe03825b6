"""Jobs and deliveries for the tests of stores, and what these do again and again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from potassium.jobs import (
    Delivery,
    DeliveryAttempt,
    DeliveryStore,
    Full,
    JobStore,
    NewJob,
    Status,
    StoredJob,
)

__all__ = [
    "HANDLERS",
    "NOW",
    "attempt",
    "claim",
    "delivery",
    "eventually",
    "failed",
    "new_job",
    "stored",
    "suspect",
    "take_due",
]

T = TypeVar("T")

NOW = 1_000_000.0  # seconds since the epoch; the stores compare with what they are given
HANDLERS = ["/train"]

PATIENCE = 30.0  # seconds until something that must happen counts as broken
PAUSE = 0.02  # seconds

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


async def claim(store: JobStore, *, limit: int = 1, now: float = NOW) -> list[StoredJob]:
    """Claim jobs for ``/train``."""
    return list(await store.claim(handlers=HANDLERS, limit=limit, now=now))


async def stored(store: JobStore, job_id: str) -> StoredJob:
    """Return a job as it is stored."""
    job = await store.get(job_id)
    assert job is not None, f"the job {job_id} is lost"
    return job


async def failed(store: JobStore) -> StoredJob:
    """Return a job that has failed."""
    job = await store.submit(new_job())
    (running,) = await claim(store)
    await store.end(running, Status.FAILED, now=NOW, error=b"{}")
    return await stored(store, job.id)


async def suspect(store: JobStore, **values: Any) -> StoredJob:
    """Return a queued suspect."""
    job = await store.submit(new_job(**values))
    (running,) = await store.claim(handlers=[job.handler], limit=1, now=NOW)
    crashed = replace(running, crashes=1, is_suspect=True)
    assert await store.put_back(crashed, due_at=NOW, error=None)
    kept = await stored(store, job.id)
    assert (kept.status, kept.crashes, kept.is_suspect) == (Status.QUEUED, 1, True)
    return kept


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


async def eventually(look: Callable[[], Awaitable[T]], what: str) -> T:
    """Return what ``look`` returns once that is true; fail if it never is."""
    give_up_at = time.monotonic() + PATIENCE
    while not (found := await look()):
        assert time.monotonic() < give_up_at, f"{what}: not within {PATIENCE:g} s"
        await asyncio.sleep(PAUSE)
    return found
