"""The file of ``SqliteStore``: who may read it, what it takes, and what if it is gone."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from support.jobs import NOW, delivery, new_job

from potassium import Jobs
from potassium.errors import StoreFailed, StoreFull, UsageError
from potassium.jobs.inputs import size_of
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.sqlite import file, group_commit, schema
from potassium.jobs.sqlite.connection import LARGEST_LOG
from potassium.jobs.sqlite.store import SqliteStore
from potassium.webhooks.model import Full

MIB = 1024 * 1024
HANDLERS = ["/train"]


@asynccontextmanager
async def opened(path: Path, options: Jobs | None = None) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def run(store: SqliteStore) -> StoredJob:
    (job,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    return job


async def fill(store: SqliteStore, jobs: int) -> None:
    """Store jobs that have ended with outputs of a mebibyte."""
    for _ in range(jobs):
        await store.submit(new_job())
        await store.end(await run(store), Status.SUCCEEDED, now=NOW, output=os.urandom(MIB))


async def empty(store: SqliteStore) -> None:
    while await store.delete_ended(before=NOW + 1, limit=500):
        pass


def old_file(path: Path) -> None:
    """Make a file as the first version did, with an ended, a failed and a queued job."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(schema._FIRST)
        for status in ("succeeded", "failed", "queued"):
            row = (status, status, "" if status == "queued" else "x" * 3 * MIB)
            db.execute(
                "INSERT INTO jobs VALUES (NULL, ?, '/train', 'r', 1, 256, 1, 1000000, NULL, NULL, "
                "NULL, x'', ?, 1000000, iif(?1 = 'queued', 1, NULL), NULL, "
                "iif(?1 = 'queued', NULL, 1000000), 1, 0, NULL, NULL, NULL, CAST(?3 AS BLOB))",
                row,
            )
            db.execute("INSERT INTO inputs VALUES (last_insert_rowid(), '[]', zeroblob(1000000))")
        db.execute("PRAGMA user_version = 1")
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    path.chmod(0o644)


async def test_only_the_owner_can_read_it(sqlite: SqliteStore) -> None:
    """Jobs hold what clients have sent; this holds for the write-ahead log, too."""
    await sqlite.submit(new_job())
    modes = {path.name: path.stat().st_mode & 0o777 for path in sqlite._path.parent.iterdir()}
    assert modes == dict.fromkeys(("jobs.db", "jobs.db-wal", "jobs.db-holder"), 0o600)


async def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    """A group that the operator has let in may go on reading."""
    path = tmp_path / "jobs.db"
    for before, after in ((0o644, 0o600), (0o640, 0o640)):
        path.touch()
        path.chmod(before)
        async with opened(path):
            assert path.stat().st_mode & 0o777 == after


async def test_a_file_gives_back_what_was_deleted(sqlite: SqliteStore) -> None:
    """It is small again once its jobs are deleted, and keeps a little for those that come."""
    await fill(sqlite, 40)
    full = sqlite._path.stat().st_size
    assert full > 30 * MIB
    await sqlite.submit(new_job(id="waits"))
    await empty(sqlite)
    await sqlite.upkeep()
    await sqlite._file.connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    assert sqlite._path.stat().st_size < 8 * MIB
    assert (await run(sqlite)).id == "waits"


async def test_others_take_turns_with_the_steps(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submit waits for one step at most, however much there is to give back."""
    monkeypatch.setattr(file, "STEP", 64)
    await fill(sqlite, 20)
    await empty(sqlite)
    shrinking = asyncio.create_task(sqlite.upkeep())
    for _ in range(5):
        await sqlite.submit(new_job())
        assert not shrinking.done()
    await shrinking


async def test_the_log_is_cut_after_something_large(sqlite: SqliteStore) -> None:
    """One large result does not keep its size of the disk twice, even if nothing follows it."""
    await sqlite.upkeep()
    await sqlite.submit(new_job())
    output = bytes(2 * LARGEST_LOG)
    await sqlite.end(await run(sqlite), Status.SUCCEEDED, now=NOW, output=output)
    log = sqlite._path.with_name("jobs.db-wal")
    assert log.stat().st_size > LARGEST_LOG
    await sqlite.upkeep()
    assert log.stat().st_size <= LARGEST_LOG


async def test_a_crowd_of_large_jobs_is_not_one_transaction(sqlite: SqliteStore) -> None:
    """The log would be as large as all of them together."""
    for _ in range(6):
        await sqlite.submit(new_job())
    jobs = await sqlite.claim(handlers=HANDLERS, limit=6, now=NOW)
    output = bytes(8 * MIB)
    ends = (sqlite.end(job, Status.SUCCEEDED, now=NOW, output=output) for job in jobs)
    await asyncio.gather(*ends)
    assert sqlite._path.with_name("jobs.db-wal").stat().st_size < 2 * LARGEST_LOG


async def test_an_old_file_can_shrink_and_is_counted(tmp_path: Path) -> None:
    """A file of the first version is converted; its inputs that nobody needs are deleted."""
    path = tmp_path / "jobs.db"
    old_file(path)
    async with opened(path, Jobs(max_queued=1)) as store:
        ((mode,),) = await store._file.connection.execute_fetchall("PRAGMA auto_vacuum")
        assert mode == 2
        assert path.stat().st_mode & 0o777 == 0o600
        assert store._room.queued == 1
        assert store._room.bytes == 3 * 1024 + 6 * MIB + 2 * 1_000_002
        with pytest.raises(StoreFull):
            await store.submit(new_job())
        job = await run(store)
        assert (job.id, size_of(job.body)) == ("queued", 1_000_000)
        failed = await store.get("failed")
        assert failed is not None
        assert await store.retry(failed, attempts_limit=2, now=NOW)
        await store.end(job, Status.SUCCEEDED, now=NOW)
        await empty(store)
        await store.end(await run(store), Status.SUCCEEDED, now=NOW)
        await empty(store)
        assert store._room.bytes == 0


async def test_what_is_stored_is_known_after_a_restart(tmp_path: Path) -> None:
    """The first submit is refused if the file was full before."""
    options = Jobs(max_queued=1, max_bytes=10_000)
    async with opened(tmp_path / "jobs.db", options) as store:
        await store.submit(new_job())
    async with opened(tmp_path / "jobs.db", options) as store:
        with pytest.raises(StoreFull):
            await store.submit(new_job())
        job = await run(store)
        events = [Event(id=1, kind="chunk", data=b"x" * 5000)]
        await store.end(job, Status.SUCCEEDED, now=NOW, output=b"x" * 5000, events=events)
    async with opened(tmp_path / "jobs.db", options) as store:
        with pytest.raises(StoreFull):
            await store.submit(new_job())


async def test_deliveries_count(tmp_path: Path) -> None:
    """Results of direct calls wait in the same file for their receivers."""
    async with opened(tmp_path / "jobs.db", Jobs(max_bytes=10_500)) as store:
        await store.add(delivery(body=b"x" * 9000))
        before = store._room.bytes
        with pytest.raises(StoreFull):
            await store.add(delivery(body=b"x" * 9000))
        with pytest.raises(StoreFull):
            await store.submit(new_job())
    assert before == 9000 + 1024


@pytest.mark.parametrize("what", ["the folder", "the file", "the log"])
async def test_a_file_that_was_removed_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """The system keeps what is open: no acknowledged job is lost, and the log tells once."""
    path = tmp_path / "store" / "jobs.db"
    async with opened(path) as store:
        kept = await store.submit(new_job(body=b"kept"))
        await store.add(delivery(id="taken"))
        assert await store.take_due(is_guarded=False, now=NOW, limit=1, full=Full())
        for gone in list(path.parent.iterdir()):
            if what == "the folder" or gone.name == f"jobs.db{'-wal' * (what == 'the log')}":
                gone.unlink()
        if what == "the folder":
            path.parent.rmdir()
        added = [(await store.submit(new_job(body=b"added"))).id for _ in range(3)]
        assert not await store.take_due(is_guarded=False, now=NOW, limit=9, full=Full())
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert str(path) in record.getMessage()
        assert store.fault is None
        assert path.stat().st_mode & 0o777 == 0o600
    async with opened(path) as store:
        claimed = await store.claim(handlers=HANDLERS, limit=9, now=NOW)
        assert [job.id for job in claimed] == [kept.id, *added]
        assert claimed[0].body == b"kept"
    assert [one.name for one in path.parent.iterdir()] == ["jobs.db"]


async def test_a_file_that_is_not_ours_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has put another file there: nothing is acknowledged until that is undone."""
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.upkeep()
        before = await store.submit(new_job())
        path.rename(tmp_path / "aside.db")
        path.write_bytes(b"another")
        for _ in range(50):
            with pytest.raises(StoreFailed):
                await store.submit(new_job())
        assert store.fault is not None
        assert ["replaced" in record.getMessage() for record in caplog.records] == [True]
        assert path.read_bytes() == b"another"
        (tmp_path / "aside.db").replace(path)
        await store.upkeep()
        assert store.fault is None
        assert (await run(store)).id == before.id


async def test_a_folder_that_cannot_be_made_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it can be made, all jobs are stored again."""
    monkeypatch.setattr(file, "RETRY", 0.0)
    folder = tmp_path / "store"
    async with opened(folder / "jobs.db") as store:
        before = await store.submit(new_job())
        folder.rename(tmp_path / "aside")
        folder.touch()
        with pytest.raises(StoreFailed):
            await store.submit(new_job())
        assert store.fault is not None
        with pytest.raises(StoreFailed):
            await store.upkeep()
        folder.unlink()
        await store.upkeep()
        assert store.fault is None
        assert (await run(store)).id == before.id


async def test_a_new_file_that_cannot_be_opened_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file is closed by then; the new one has all its jobs."""
    monkeypatch.setattr(file, "RETRY", 0.0)
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        before = await store.submit(new_job())
        path.unlink()
        with monkeypatch.context() as context:
            context.setattr(file, "connect", _no_connection)
            with pytest.raises(StoreFailed):
                await store.submit(new_job())
        assert (await run(store)).id == before.id


async def _no_connection(*_: object) -> None:
    raise UsageError("It is in use by another process.")


async def test_a_disk_that_is_full_is_known_until_it_can_be_written(
    sqlite: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Reads that succeed do not hide it; upkeep finds out when there is room again."""
    await sqlite.upkeep()
    job = await sqlite.submit(new_job())
    await sqlite._file.connection.execute("PRAGMA max_page_count = 1")
    for _ in range(20):
        with pytest.raises(StoreFailed):
            await sqlite.submit(new_job(body=b"x" * 100_000))
    assert await sqlite.get(job.id) is not None
    assert sqlite.fault is not None
    assert len(caplog.records) == 1
    await sqlite._file.connection.execute("PRAGMA max_page_count = 1000000")
    await sqlite.upkeep()
    assert sqlite.fault is None
    assert "again" in caplog.records[-1].getMessage()


async def test_a_lasting_fault_is_logged_now_and_then(
    sqlite: SqliteStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is repeated after a while, so that it is found in recent logs."""
    monkeypatch.setattr(group_commit, "LOG_EVERY", 0.0)
    await sqlite._file.connection.execute("PRAGMA max_page_count = 1")
    for _ in range(2):
        with pytest.raises(StoreFailed):
            await sqlite.submit(new_job(body=b"x" * 100_000))
    assert len(caplog.records) == 2


async def test_looking_at_a_job_reads_neither_input_nor_output(sqlite: SqliteStore) -> None:
    """Both may be large, and many may wait for one job."""
    await fill(sqlite, 1)
    job = await sqlite.submit(new_job(body=bytes(MIB)))
    statements: list[str] = []
    await sqlite._file.connection.set_trace_callback(statements.append)
    await asyncio.gather(*(sqlite.get(job.id) for _ in range(100)))
    (asked,) = [statement for statement in statements if statement.startswith("SELECT")]
    assert "inputs" not in asked
    assert "NULL AS output" in asked


async def test_an_input_that_nobody_needs_is_deleted(sqlite: SqliteStore) -> None:
    """Only that of a failed job stays, as it may be retried."""
    for status in (Status.SUCCEEDED, Status.CANCELLED, Status.EXPIRED, Status.FAILED):
        await sqlite.submit(new_job(body=status.value.encode()))
        await sqlite.end(await run(sqlite), status, now=NOW)
    rows = await sqlite._file.connection.execute_fetchall("SELECT body FROM inputs")
    assert [tuple(row) for row in rows] == [(b"failed",)]


async def test_large_inputs_are_not_claimed_all_at_once(sqlite: SqliteStore) -> None:
    """Memory holds a few of them, whatever there is room for; one is always claimed."""
    for _ in range(4):
        await sqlite.submit(new_job(body=bytes(10 * MIB)))
    assert len(await sqlite.claim(handlers=HANDLERS, limit=9, now=NOW)) == 2
    await sqlite.submit(new_job(body=bytes(20 * MIB), priority=2))
    (first,) = await sqlite.claim(handlers=HANDLERS, limit=1, now=NOW)
    assert size_of(first.body) >= 10 * MIB


async def test_large_events_are_read_a_few_at_a_time(sqlite: SqliteStore) -> None:
    """Many clients may follow one job."""
    await sqlite.submit(new_job(id="a"))
    job = await run(sqlite)
    events = [Event(id=number, kind="chunk", data=bytes(200_000)) for number in range(1, 6)]
    await sqlite.note(job, progress=None, message=None, events=events)
    seen: list[int] = []
    while some := await sqlite.events("a", after=seen[-1] if seen else 0, limit=32):
        assert len(some) <= 2
        seen += [event.id for event in some]
    assert seen == [1, 2, 3, 4, 5]
