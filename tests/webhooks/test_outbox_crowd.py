"""Webhooks on their way from handlers to the store."""

import asyncio
import logging

import pytest
from webhooks.fake_store import FakeStore

from potassium import Potassium, send_webhook
from potassium.testing import client
from potassium.webhooks import outbox
from potassium.webhooks.outbox import Outbox


async def test_thousands_may_be_posted_at_once() -> None:
    """All of them reach the store."""
    store = FakeStore()
    box = Outbox(store, lambda: None)
    for number in range(5000):
        box.post("https://a.test", b"%d" % number, "r-1")
    await box.close()
    assert len(store.waiting) == 5000


async def test_what_would_fill_the_memory_is_dropped_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Deliveries on their way to the store are limited; those that have arrived no longer count."""
    monkeypatch.setattr(outbox, "MOST_PENDING", 3 * (outbox.OVERHEAD + 1))
    store = FakeStore()
    box = Outbox(store, lambda: None)
    for _ in range(2):
        for _ in range(4):
            box.post("https://a.test", b"1", "r-1")
        await box.close()
    assert len(store.waiting) == 6
    assert [record.levelno for record in caplog.records] == [logging.ERROR]  # one a minute
    assert "a.test" in caplog.text


async def test_a_start_that_fails_leaves_nothing_behind() -> None:
    """What init posted before it raised is attempted, and no task is left running."""
    app = Potassium("test")
    before = asyncio.all_tasks()

    @app.init
    def init() -> None:
        send_webhook("http://127.0.0.1:9/", 1)
        raise RuntimeError

    @app.handler
    def handler(cache: dict[str, object], json_in: object) -> object:
        return json_in

    with pytest.raises(RuntimeError):
        async with client(app):
            pass
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
