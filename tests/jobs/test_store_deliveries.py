"""What every store promises about deliveries."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.jobs import NOW, attempt, delivery

from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.sqlite.store import SqliteStore
from potassium.webhooks.memory_store import MemoryDeliveries
from potassium.webhooks.model import Delivery, DeliveryStore


@pytest.fixture(params=["memory", "memory of jobs", "sqlite"])
async def deliveries(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[DeliveryStore]:
    if request.param == "memory":
        yield MemoryDeliveries()
        return
    store = MemoryStore() if request.param != "sqlite" else SqliteStore(tmp_path / "jobs.db")
    await store.open()
    yield store
    await store.close()


async def take(
    deliveries: DeliveryStore, *, now: float = NOW, limit: int = 9, without: tuple[str, ...] = ()
) -> list[Delivery]:
    return list(await deliveries.take_due(now=now, limit=limit, without_hosts=without))


async def test_a_delivery_is_kept_as_it_was_given(deliveries: DeliveryStore) -> None:
    """Whoever takes it gets all of its fields."""
    given = delivery(
        url="https://user:pw@A.test:81/x?y", body=b"\x00", job_id="j", is_guarded=True, attempts=3
    )
    await deliveries.add(given)
    assert await take(deliveries) == [given]


async def test_deliveries_are_taken_in_the_order_of_time(deliveries: DeliveryStore) -> None:
    """The one due first comes first; none is taken before its time, or beyond the limit."""
    times = [NOW + 3, NOW + 1, NOW + 2, NOW + 5]
    for due_at in times:
        await deliveries.add(delivery(due_at=due_at))
    assert await deliveries.next_due() == NOW + 1
    assert [each.due_at for each in await take(deliveries, now=NOW + 4, limit=2)] == [
        NOW + 1,
        NOW + 2,
    ]
    assert [each.due_at for each in await take(deliveries, now=NOW + 4)] == [NOW + 3]
    assert await deliveries.next_due() == NOW + 5


async def test_a_taken_delivery_is_nobody_elses(deliveries: DeliveryStore) -> None:
    """Nobody else takes it until its attempt is stored; then it is due again, one attempt later."""
    await deliveries.add(delivery())
    (taken,) = await take(deliveries)
    assert await take(deliveries) == []
    assert await deliveries.next_due() is None
    await deliveries.tried(taken, attempt(taken, next_at=NOW + 5))
    assert await take(deliveries, now=NOW + 4) == []
    assert await take(deliveries, now=NOW + 5) == [taken.tried(NOW + 5)]


async def test_hosts_can_be_left_out(deliveries: DeliveryStore) -> None:
    """Deliveries to other hosts are taken ahead of those to a host that has enough."""
    await deliveries.add(delivery(url="https://User@A.test:81/1"))
    await deliveries.add(delivery(url="https://b.test/", due_at=NOW - 1))
    await deliveries.add(delivery(url="https://a.test/"))
    others = await take(deliveries, without=("a.test:81", "b.test"))
    assert [each.host for each in others] == ["a.test"]
    assert [each.host for each in await take(deliveries)] == ["b.test", "a.test:81"]


async def test_every_attempt_is_kept(deliveries: DeliveryStore) -> None:
    """The attempts of all deliveries of a job are listed in order of time."""
    first, second = delivery(job_id="j"), delivery(job_id="j")
    await deliveries.add(first)
    await deliveries.add(second)
    await deliveries.add(delivery(job_id="other"))
    await take(deliveries)
    attempts = [
        attempt(first, next_at=NOW + 3, at=NOW + 1),
        attempt(second, next_at=None, at=NOW + 2),
        attempt(first.tried(NOW + 3), next_at=None, at=NOW + 3),
    ]
    await deliveries.tried(first, attempts[0])
    await deliveries.tried(second, attempts[1])
    (again,) = await take(deliveries, now=NOW + 3)
    await deliveries.tried(again, attempts[2])
    assert list(await deliveries.attempts_of("j")) == attempts
    assert await deliveries.next_due() is None


async def test_deliveries_of_a_job_can_be_given_up(deliveries: DeliveryStore) -> None:
    """No delivery of the job is due any more, not even one whose attempt is under way and fails."""
    first, second = delivery(job_id="j"), delivery(job_id="j", due_at=NOW + 1)
    other = delivery(job_id="other", due_at=NOW + 2)
    for each in (first, second, other):
        await deliveries.add(each)
    (taken,) = await take(deliveries)
    await deliveries.stop("j")
    await deliveries.tried(taken, attempt(taken, next_at=NOW))
    assert await take(deliveries, now=NOW + 5) == [other]
    assert len(await deliveries.attempts_of("j")) == 1


async def test_what_nobody_can_ask_for_is_forgotten(deliveries: DeliveryStore) -> None:
    """A delivery of a direct call leaves nothing behind when it has ended."""
    await deliveries.add(delivery(id="direct"))
    (taken,) = await take(deliveries)
    await deliveries.tried(taken, attempt(taken, next_at=NOW))
    (taken,) = await take(deliveries)
    await deliveries.tried(taken, attempt(taken, next_at=None))
    await deliveries.add(delivery(id="direct"))  # as good as new
    assert len(await take(deliveries)) == 1
