"""Deliveries in memory: how many there may be, and which of them give way."""

import logging
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import NOW, attempt, delivery, take_due

from potassium.config import Webhooks
from potassium.webhooks import backlog
from potassium.webhooks.losses import Losses
from potassium.webhooks.memory_store import MemoryDeliveries
from potassium.webhooks.model import Delivery, Full


async def fail(store: MemoryDeliveries, *, next_at: float = NOW + 5) -> None:
    """Take all that is due, and let it fail."""
    for each in await take_due(store, limit=1000):
        await store.tried(each, attempt(each, next_at=next_at))


async def add(store: MemoryDeliveries, count: int, name: str = "a", **values: Any) -> None:
    for number in range(count):
        members = {"id": f"{name}{number}", "url": f"https://{name}.test/", **values}
        await store.add(delivery(**members))


async def held(store: MemoryDeliveries) -> list[str]:
    return sorted(each.id for each in await take_due(store, now=NOW + 10**6, limit=1000))


async def test_there_are_only_so_many() -> None:
    """Whatever comes and fails, no more than ``max_waiting`` are kept."""
    store = MemoryDeliveries(Webhooks(max_waiting=10))
    for number in range(20):
        await add(store, 10, f"h{number}")
        await fail(store)
        assert await store.undelivered() <= 10
    assert await store.undelivered() == 10


async def test_there_are_only_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large deliveries are fewer: no more than ``max_bytes`` are kept."""
    monkeypatch.setattr(backlog, "OVERHEAD", 0)
    store = MemoryDeliveries(Webhooks(max_bytes=1000))
    for number in range(20):
        await add(store, 4, f"h{number}", body=bytes(80))
        await fail(store)
    left = await take_due(store, now=NOW + 10, limit=1000)
    assert 900 <= sum(len(each.body) + len(each.url) for each in left) <= 1000


async def test_what_has_failed_gives_way_to_what_is_new() -> None:
    """No new delivery is lost as long as there is one that has failed."""
    store = MemoryDeliveries(Webhooks(max_waiting=10))
    await add(store, 5, "a")
    await fail(store)
    await add(store, 5, "b")
    await fail(store)
    for number in range(10):
        await store.add(delivery(id=f"c{number}", url=f"https://{number}.test/"))
    assert await held(store) == [f"c{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("new", "left"), [(1, ["new", "often", "old"]), (2, ["new", "old"]), (3, ["new"]), (4, [])]
)
async def test_what_has_failed_most_often_gives_way_first(new: int, left: list[str]) -> None:
    """Of those that have failed equally often, the oldest gives way."""
    store = MemoryDeliveries(Webhooks(max_waiting=4))
    await store.add(delivery(id="often", url="https://1.test/", created_at=NOW + 3))
    await fail(store, next_at=NOW)
    await store.add(delivery(id="new", url="https://2.test/", created_at=NOW + 2))
    await store.add(delivery(id="old", url="https://3.test/", created_at=NOW + 1))
    await fail(store)
    for number in range(new):
        await add(store, 1, f"x{number}")
    assert [one for one in await held(store) if not one.startswith("x")] == left


async def test_what_is_being_tried_does_not_give_way() -> None:
    """Only what waits is dropped; if nothing that has failed waits, the new one is."""
    store = MemoryDeliveries(Webhooks(max_waiting=4))
    await add(store, 2, "a")
    await fail(store)
    taken = await take_due(store, now=NOW + 5)
    await add(store, 1, "b")
    await add(store, 1, "c")
    await add(store, 1, "d")
    assert [each.id for each in taken] == ["a0", "a1"]
    assert await held(store) == ["b0", "c0"]
    for each in taken:
        await store.tried(each, attempt(each, next_at=NOW + 9))
    assert await held(store) == ["a0", "a1"]


async def test_a_slow_receiver_leaves_room_for_others() -> None:
    """While nothing has failed yet, one host gets no more room than it leaves to others."""
    store = MemoryDeliveries(Webhooks(max_waiting=12))
    await add(store, 100, "a")
    await add(store, 100, "b")
    await add(store, 1, "c")
    kept = Counter(each[0] for each in await held(store))
    assert kept == {"a": 6, "b": 3, "c": 1}


async def test_what_has_arrived_leaves_room() -> None:
    """Room is free again once a delivery has ended, in whatever way."""
    store = MemoryDeliveries(Webhooks(max_waiting=2))
    for number in range(5):
        await add(store, 1, f"a{number}", job_id="j")
        (taken,) = await take_due(store)
        if number % 2:
            await store.stop(taken)
        await store.tried(taken, attempt(taken, next_at=None))
    assert await store.undelivered() == 0
    assert len(await store.attempts_of("j")) == 5


@pytest.mark.parametrize("is_guarded", [False, True])
async def test_neither_side_takes_room_of_the_other(is_guarded: bool) -> None:
    """Deliveries to clients' URLs displace none to the app's own URLs, and the reverse."""
    store = MemoryDeliveries(Webhooks(max_waiting=4))
    await add(store, 1, "a", is_guarded=not is_guarded)
    await fail(store)
    for number in range(20):
        await add(store, 1, f"b{number}", is_guarded=is_guarded)
    assert "a0" in await held(store)


STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 300)),
    st.tuples(st.sampled_from(["take", "fail", "arrive", "stop"]), st.integers(1, 3), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_the_bounds_hold_whatever_happens(steps: list[tuple[str, Any, int]]) -> None:
    """There are never too many deliveries or bytes, and all room is free again in the end."""
    side = backlog.Backlog(max_waiting=6, max_bytes=5000, losses=Losses())
    taken: list[Delivery] = []
    for number, (step, which, size) in enumerate(steps):
        if step == "add":
            url = f"http://{which}.test/"
            side.add(delivery(url=url, body=bytes(size), created_at=number))
        elif step == "take":
            taken += side.take(now=NOW, limit=which, full=Full())
        elif taken and step == "stop":
            side.end(taken[0].id)
        elif taken:
            side.tried(taken.pop(0).id, NOW if step == "fail" else None)
        held = list(side._held.values())
        assert len(held) <= 6
        assert sum(backlog._size(each) for each in held) <= 5000
    for each in list(side._held):
        side.end(each)
    assert (len(side), side._yielding, side._yielding_bytes) == (0, [], 0)
    assert (side._room.free, side._room_bytes.free) == (6, 5000)
    assert side.next_turn(Full()) is None


async def test_many_losses_are_one_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is logged at once, with its request; the next line says how many there were."""
    now = 0.0
    losses = Losses(clock=lambda: now)
    monkeypatch.setattr("potassium.webhooks.memory_store.Losses", lambda: losses)
    store = MemoryDeliveries(Webhooks(max_waiting=2))
    for _ in range(3):
        await add(store, 10, request_id="r-7")
        now += 59
    first, second = caplog.records
    assert (first.levelno, first.request_id) == (logging.ERROR, "r-7")  # type: ignore[attr-defined]
    assert first.getMessage() == (
        "webhook to a.test dropped: no room in memory, which holds 2 deliveries and 67108864 bytes "
        "at most, see Webhooks(max_waiting=, max_bytes=) (request r-7)"
    )
    assert second.getMessage().endswith("(request r-7), and 18 others since")


async def test_an_event_looks_at_few_of_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to one delivery takes no look at each of the others, due or not."""
    store = MemoryDeliveries(Webhooks(max_waiting=10_000))
    await add(store, 4000)
    await add(store, 1000, "b", due_at=NOW + 9)
    looks = 0
    host = Delivery.host.fget  # type: ignore[attr-defined]

    def counted(each: Delivery) -> str:
        nonlocal looks
        looks += 1
        return str(host(each))

    monkeypatch.setattr(Delivery, "host", property(counted))
    for _ in range(10):
        (taken,) = await take_due(store, limit=1)
        await store.tried(taken, attempt(taken, next_at=NOW))
        side: dict[str, Any] = {"is_guarded": False, "full": Full(hosts=["a.test"])}
        assert await store.take_due(now=NOW, limit=9, **side) == []
        assert await store.next_due(**side) == NOW + 9
    assert looks <= 100
