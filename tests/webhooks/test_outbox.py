"""Accepting webhooks to be posted, and storing them."""

import asyncio
import logging
import threading

import pytest
from webhooks.fake_store import FakeStore

from potassium.webhooks.model import Delivery
from potassium.webhooks.outbox import OVERHEAD, Outbox, new_id

URL = "https://user:hush@a.test/done?token=hush"


class SlowStore(FakeStore):
    """Stores nothing until ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def add(self, delivery: Delivery) -> None:
        await self.go.wait()
        await super().add(delivery)


class Bench:
    """An outbox over a store, with a clock that stands still."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()
        self.seen: list[int] = []  # deliveries in the store at each call of ``stored``
        self.outbox = Outbox(self.store, self.stored, clock=lambda: 1000.0)

    def stored(self) -> None:
        self.seen.append(len(self.store.waiting))


async def test_what_is_posted_is_stored_and_told() -> None:
    """It is due at once, has an id of its own, and belongs to the call that it came from."""
    bench = Bench()
    bench.outbox.post(URL, b"[1]", "r-7")
    bench.outbox.post(URL, b"[2]", "r-8")
    assert bench.store.waiting == {}
    await bench.outbox.close()
    first, second = bench.store.waiting.values()
    assert first == Delivery(
        id=first.id, url=URL, body=b"[1]", request_id="r-7", created_at=1000.0, due_at=1000.0
    )
    assert first.id != second.id
    assert bench.seen == [1, 2]


async def test_what_comes_from_another_thread_is_stored_on_the_loop() -> None:
    """The thread goes on at once, and ``close`` waits for what it has posted."""
    bench = Bench()
    thread = threading.Thread(target=bench.outbox.post_from_thread, args=(URL, b"1", "r-1"))
    thread.start()
    thread.join()
    assert bench.store.waiting == {}
    await bench.outbox.close()
    assert len(bench.store.waiting) == 1


async def test_closing_waits_for_the_store() -> None:
    """Nothing that was posted is dropped at the end."""
    store = SlowStore()
    bench = Bench(store)
    bench.outbox.post(URL, b"1", "r-1")
    closing = asyncio.create_task(bench.outbox.close())
    await asyncio.sleep(0.005)
    assert not closing.done()
    store.go.set()
    await closing
    assert bench.seen == [1]


async def test_what_cannot_be_stored_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the host and the request, but no part of the URL that may be a credential."""
    bench = Bench()
    bench.store.failures = 1
    bench.outbox.post(URL, b"1", "r-1")
    await bench.outbox.close()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.request_id == "r-1"  # type: ignore[attr-defined]
    assert "dropped: The disk is full. (request r-1)" in record.getMessage()
    assert "a.test" in record.getMessage()
    assert "token" not in record.getMessage()
    assert bench.seen == []


async def test_a_store_that_hangs_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Deliveries beyond the limit are dropped, and one is logged; later ones are accepted again."""
    monkeypatch.setattr("potassium.webhooks.outbox.MOST_PENDING", 2 * (1 + OVERHEAD))
    store = SlowStore()
    bench = Bench(store)
    for number in range(4):
        bench.outbox.post(URL, b"%d" % number, "r-1")
    assert [one.getMessage().split("dropped: ")[1] for one in caplog.records] == [
        "2 deliveries are already waiting to be stored (request r-1)"
    ]
    store.go.set()
    await bench.outbox.close()
    bench.outbox.post(URL, b"4", "r-1")
    await bench.outbox.close()
    assert [one.body for one in store.waiting.values()] == [b"0", b"1", b"4"]


def test_ids_are_unguessable() -> None:
    """An id has 128 random bits, in the form that Standard Webhooks suggests."""
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(one.startswith("msg_") and len(one) == 36 for one in ids)
