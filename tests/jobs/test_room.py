"""How much a store of jobs takes: in all stores, and before it stores anything."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import postgres
from support.jobs import NOW, new_job

from potassium import Jobs
from potassium.errors import IdempotencyKeyReused, StoreFull
from potassium.jobs import room
from potassium.jobs.memory_store import MemoryStore
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.postgres.store import PostgresStore
from potassium.jobs.room import OVERHEAD, Room
from potassium.jobs.sqlite.store import SqliteStore
from potassium.jobs.store import JobStore

LARGE = b"x" * 100_000
HANDLERS = ["/train"]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobStore]:
    """A store for two queued jobs, and for three large inputs."""
    options = Jobs(max_queued=2, max_bytes=3 * (len(LARGE) + OVERHEAD) + 3000)
    store: JobStore = MemoryStore(options)
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "jobs.db", options)
    elif request.param == "postgres":
        options = postgres.jobs(max_queued=2, max_bytes=options.max_bytes)
        store = PostgresStore(str(options.url), options)
    await store.open()
    yield store
    await store.close()


async def run(store: JobStore) -> StoredJob:
    (job,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    await store.upkeep()  # a store that is shared may count now and then
    return job


async def delete(store: JobStore, limit: int) -> int:
    deleted = await store.delete_ended(before=NOW + 1, limit=limit)
    await store.upkeep()
    return deleted


async def fill(store: JobStore, *, status: Status = Status.FAILED) -> None:
    """Store three large jobs that have ended."""
    for number in range(3):
        await store.submit(new_job(body=LARGE, idempotency_key=f"k{number}"))
        await store.end(await run(store), status, now=NOW, output=None)


async def test_no_more_jobs_than_allowed_wait(store: JobStore) -> None:
    """The next one is refused until one of them begins."""
    for _ in range(2):
        await store.submit(new_job())
    with pytest.raises(StoreFull) as refused:
        await store.submit(new_job())
    assert (refused.value.status, refused.value.code) == (503, "store_full")
    assert int(refused.value.headers["Retry-After"]) > 0
    await run(store)
    await store.submit(new_job())
    assert await store.count(Status.QUEUED) == 2


async def test_a_failed_job_is_not_queued_again_where_too_many_wait(store: JobStore) -> None:
    """Retrying jobs by hand does not make the queue longer than allowed."""
    job = await store.submit(new_job())
    await store.end(await run(store), Status.FAILED, now=NOW)
    failed = await store.get(job.id)
    assert failed is not None
    for _ in range(2):
        await store.submit(new_job())
    with pytest.raises(StoreFull):
        await store.retry(failed, attempts_limit=2, now=NOW)


async def test_no_more_bytes_than_allowed_are_accepted(store: JobStore) -> None:
    """What has ended counts until it is deleted."""
    await fill(store)
    with pytest.raises(StoreFull):
        await store.submit(new_job(body=LARGE))
    await delete(store, 1)
    await store.submit(new_job(body=LARGE))


async def test_a_key_that_is_known_needs_no_room(store: JobStore) -> None:
    """A client that asks again for a job that it has submitted gets it, however full it is."""
    await fill(store)
    known = await store.submit(new_job(body=LARGE, idempotency_key="k1"))
    assert known.status is Status.FAILED
    with pytest.raises(IdempotencyKeyReused):
        await store.submit(new_job(body=LARGE, idempotency_key="k1", fingerprint=b"other"))
    with pytest.raises(StoreFull):
        await store.submit(new_job(body=LARGE, idempotency_key="k9"))


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED, Status.EXPIRED])
async def test_an_input_that_nobody_needs_takes_no_room(store: JobStore, status: Status) -> None:
    """Once a job has succeeded or will not run, its input is not kept."""
    for _ in range(9):
        await store.submit(new_job(body=LARGE))
        await store.end(await run(store), status, now=NOW)


async def test_a_failed_job_keeps_its_input(store: JobStore) -> None:
    """It runs again with the same input when somebody retries it."""
    job = await store.submit(new_job(body=LARGE, headers=[("a", "b")]))
    await store.end(await run(store), Status.FAILED, now=NOW, error=b"{}")
    failed = await store.get(job.id)
    assert failed is not None
    assert await store.retry(failed, attempts_limit=2, now=NOW)
    again = await run(store)
    assert (again.body, again.headers) == (LARGE, (("a", "b"),))


async def test_what_belongs_to_an_accepted_job_is_never_refused(store: JobStore) -> None:
    """Its events, errors and results are stored, however full the store is."""
    await fill(store)
    await store.submit(new_job())
    running = await run(store)
    events = [Event(id=1, kind="chunk", data=LARGE)]
    await store.note(running, progress=0.5, message=None, events=events)
    assert await store.put_back(running, due_at=NOW, error=LARGE)
    running = await run(store)
    assert await store.end(running, Status.SUCCEEDED, now=NOW, output=LARGE)
    assert await store.output(running.id) == LARGE


async def test_no_job_begins_while_results_have_filled_the_store(store: JobStore) -> None:
    """A queued job waits, with its input, until results have been deleted."""
    first = await store.submit(new_job())
    second = await store.submit(new_job())
    await store.end(await run(store), Status.SUCCEEDED, now=NOW, output=LARGE * 7)
    assert list(await store.claim(handlers=HANDLERS, limit=1, now=NOW)) == []
    due = await store.next_job(HANDLERS)
    assert due is not None
    assert due > store.clock()
    await delete(store, 9)
    assert await store.get(first.id) is None
    assert (await run(store)).id == second.id


async def test_a_suspect_waits_for_room_too(store: JobStore) -> None:
    """It is not taken for gone: the claim fails until results have been deleted."""
    await store.submit(new_job())
    suspect = replace(await run(store), is_suspect=True)
    await store.put_back(suspect, due_at=NOW, error=None)
    await store.submit(new_job())
    await store.end(await run(store), Status.SUCCEEDED, now=NOW, output=LARGE * 7)
    with pytest.raises(StoreFull):
        await store.claim_suspect(handlers=HANDLERS, now=NOW)
    await delete(store, 9)
    claimed = await store.claim_suspect(handlers=HANDLERS, now=NOW)
    assert claimed is not None
    assert claimed.id == suspect.id


async def test_all_that_was_deleted_gives_its_room_back(store: JobStore) -> None:
    """Inputs, results, errors, events: nothing is counted after its job is gone."""
    for number in range(12):
        await store.submit(new_job(body=LARGE))
        running = await run(store)
        events = [Event(id=number + 1, kind="chunk", data=LARGE)]
        await store.put_back(running, due_at=NOW, error=LARGE, events=events)
        status = Status.FAILED if number % 2 else Status.SUCCEEDED
        await store.end(await run(store), status, now=NOW, error=LARGE, output=LARGE)
        assert await delete(store, 9) == 1
    assert store._room.bytes == 0  # type: ignore[attr-defined]  # of both stores


@pytest.mark.parametrize("limit", ["max_queued", "max_bytes"])
async def test_the_log_names_the_limit_once(
    limit: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is refused all the time does not fill the log."""
    given: dict[str, Any] = {limit: 1}
    full = Room(Jobs(**given))
    full.queued = 1
    for _ in range(100):
        with pytest.raises(StoreFull):
            full.check(10)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert limit in record.getMessage()
    monkeypatch.setattr(room, "LOG_EVERY", 0.0)
    with pytest.raises(StoreFull):
        full.check(10)
    assert len(caplog.records) == 2


def test_what_waits_in_memory_is_counted() -> None:
    """However much the store may hold, memory holds a bounded part of what comes."""
    room_of_plenty = Room(Jobs(max_bytes=10**12))
    size = room.MOST_COMING // 2 + 1
    with room_of_plenty.entering(size):
        with pytest.raises(StoreFull) as refused, room_of_plenty.entering(size):
            pass
        assert refused.value.headers["Retry-After"] == "1"
    with room_of_plenty.entering(size):
        pass


def test_one_job_may_be_larger_than_what_waits_at_a_time() -> None:
    """It is accepted where it is alone."""
    with Room(Jobs(max_bytes=10**12)).entering(room.MOST_COMING + 1):
        pass
