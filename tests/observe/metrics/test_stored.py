"""Background jobs and webhooks, which a store is asked for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.job_bench import Bench, ended, submit
from support.metrics import Scrape, scrape
from webhooks.receivers import Receiver, answering, receiving

from potassium import Jobs, Potassium, Webhooks, send_webhook
from potassium.errors import StoreFailed
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import Census, Status
from potassium.observe import held
from potassium.observe.metrics.shown import Shown
from potassium.observe.metrics.stored import Stored
from potassium.testing import client

JOBS = "potassium_jobs"
AGE = "potassium_job_oldest_age_seconds"
ATTEMPTS = "potassium_job_attempts_total"
POSTED = "potassium_webhook_attempts_total"


@pytest.fixture(autouse=True)
def _metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POTASSIUM_METRICS", "1")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_jobs_are_shown_by_state_with_the_age_of_the_oldest() -> None:
    """One runs, one waits, one has ended; there is no age where there is no job."""
    bench = Bench()
    async with bench.client() as http:
        seen = await scrape(http)
        assert seen.values(AGE) == {("queued",): 0, ("running",): 0}
        await ended(http, await submit(http, "/short", {}))
        first = await submit(http, "/held", {"n": 1})
        await bench.has_begun()
        second = await submit(http, "/held", {"n": 2})
        await asyncio.sleep(0.02)
        seen = await scrape(http)
        assert seen.value(JOBS, handler="/short", state="succeeded") == 1
        assert seen.value(JOBS, handler="/held", state="running") >= 1
        assert sum(seen.values(JOBS, handler="/held").values()) == 2
        assert seen.value(AGE, state="running") >= 0.02
        assert seen.value("potassium_job_store_up") == 1
        bench.gate.release(2)
        for job in (first, second):
            await ended(http, job)
        seen = await scrape(http)
        assert seen.value(JOBS, handler="/held", state="succeeded") == 2
        assert seen.values(AGE) == {("queued",): 0, ("running",): 0}


async def test_attempts_are_counted_by_what_came_of_them(tmp_path: Path) -> None:
    """A job that fails twice and then succeeds had three."""
    app = Potassium("test", jobs=Jobs(path=str(tmp_path / "jobs.db"), backoff=0.01, attempts=3))
    tries: list[int] = []

    @app.background("/flaky")
    def flaky(cache: dict[str, Any], json_in: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError

    @app.background("/broken", attempts=1)
    def broken(cache: dict[str, Any], json_in: Any) -> None:
        raise ValueError

    async with client(app) as http:
        for path in ("/flaky", "/broken"):
            await ended(http, await submit(http, path, {}))
        seen = await scrape(http)
    assert seen.values(ATTEMPTS) == {
        ("/flaky", "retried"): 2,
        ("/flaky", "succeeded"): 1,
        ("/broken", "failed"): 1,
    }
    assert seen.value(JOBS, handler="/broken", state="failed") == 1


async def test_a_store_that_hangs_does_not_hang_the_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures are left out; all others are there in time."""
    monkeypatch.setattr(held, "PATIENCE", 0.02)

    async def hangs(_: MemoryStore) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(MemoryStore, "census", hangs)
    async with Bench().client() as http:
        async with asyncio.timeout(10):
            seen = await scrape(http)
    assert seen.value("potassium_job_store_up") == 0
    assert seen.values(JOBS) == {}
    assert seen.values(AGE) == {}
    assert seen.value("potassium_ready") == 1


async def test_a_store_that_fails_is_shown_as_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scrape itself succeeds."""

    async def fails(_: MemoryStore) -> None:
        raise StoreFailed("The disk is gone.")

    for name in ("census", "undelivered"):
        monkeypatch.setattr(MemoryStore, name, fails)
    async with Bench().client() as http:
        seen = await scrape(http)
    assert seen.value("potassium_job_store_up") == 0
    assert seen.values("potassium_webhook_backlog") == {}


async def test_a_store_that_can_be_read_but_not_written_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a full disk: its jobs are counted all the same."""
    monkeypatch.setattr(MemoryStore, "fault", "database or disk is full")
    async with Bench().client() as http:
        seen = await scrape(http)
    assert seen.value("potassium_job_store_up") == 0
    assert seen.value("potassium_ready") == 0
    assert set(seen.values(AGE)) == {("queued",), ("running",)}


async def test_an_age_is_never_negative() -> None:
    """The clock of a store may have been set back since a job was submitted."""
    jobs = SimpleNamespace(store=SimpleNamespace(fault=None), attempts={})
    webhooks = SimpleNamespace(attempts={}, dropped=0)
    seen = Scrape(
        Stored(
            running=cast("Any", SimpleNamespace(jobs=jobs, webhooks=webhooks)),
            census=Census(jobs={}, oldest={Status.QUEUED: 150.0}),
            now=100.0,
            undelivered=0,
        ).families(Shown("test"))
    )
    assert seen.value(AGE, state="queued") == 0


async def test_an_app_without_jobs_has_no_figures_of_them() -> None:
    """Nor does it look as if their store was down."""
    app = Potassium("test")
    app.handler(lambda cache, json_in: json_in)
    async with client(app) as http:
        seen = await scrape(http)
    assert seen.values("potassium_job_store_up") == {}
    assert seen.value("potassium_webhook_backlog") == 0


async def test_webhooks_are_counted_by_what_came_of_them(receiver: Receiver) -> None:
    """One arrives; one is refused and waits for its next attempt."""
    receiver.answer = answering(204)
    app = Potassium("test", webhooks=Webhooks(timeout=5))
    app.handler(lambda cache, json_in: send_webhook(receiver.url, json_in))
    async with client(app) as http:
        await http.post("/", json={})
        await receiver.next()
        for _ in range(100):
            seen = await scrape(http)
            if seen.value(POSTED, outcome="delivered"):
                break
            await asyncio.sleep(0.01)
        receiver.answer = answering(500)
        await http.post("/", json={})
        await receiver.next()
        for _ in range(100):
            seen = await scrape(http)
            if seen.value(POSTED, outcome="failed"):
                break
            await asyncio.sleep(0.01)
        assert seen.values(POSTED) == {("delivered",): 1, ("failed",): 1, ("given_up",): 0}
        assert seen.value("potassium_webhook_backlog") == 1


async def test_webhooks_without_room_are_counted_as_dropped() -> None:
    """The last one finds no place, as nobody takes the others."""
    app = Potassium("test", webhooks=Webhooks(max_waiting=2))

    @app.handler
    def handler(cache: dict[str, Any], json_in: Any) -> None:
        for _ in range(5):
            send_webhook("http://127.0.0.1:9/", {})

    async with client(app) as http:
        await http.post("/", json={})
        for _ in range(100):
            seen = await scrape(http)
            if seen.value("potassium_webhook_dropped_total"):
                break
            await asyncio.sleep(0.01)
        assert seen.value("potassium_webhook_dropped_total") >= 3
