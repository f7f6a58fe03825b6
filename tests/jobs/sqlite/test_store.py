"""What ``SqliteStore`` promises beyond what every store does."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from support.jobs import NOW, attempt, delivery, new_job, take_due

from potassium.errors import StoreFailed, UsageError
from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.sqlite import schema
from potassium.jobs.sqlite.rows import ADD_DELIVERY, row_of
from potassium.jobs.sqlite.store import SqliteStore
from potassium.webhooks.model import Full

HANDLERS = ["/train"]

OPEN = """
import asyncio, sys
from potassium.errors import UsageError
from potassium.jobs.sqlite.store import SqliteStore
try:
    asyncio.run(SqliteStore(sys.argv[1]).open())
except UsageError as error:
    print(error)
"""


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def crashed(store: SqliteStore, folder: Path) -> Path:
    """Return a copy of the file as it would be found if the process of ``store`` died now."""
    folder.mkdir()
    for path in store._path.parent.glob(f"{store._path.name}*"):
        shutil.copy(path, folder)
    return folder / store._path.name


async def statements_of(store: SqliteStore) -> list[str]:
    """Return a list that records each statement the store runs from now on."""
    statements: list[str] = []
    await store._file.connection.set_trace_callback(statements.append)
    return statements


async def pages(store: SqliteStore, most: int) -> None:
    """Limit the file to ``most`` pages, as if the disk were full."""
    await store._file.connection.execute(f"PRAGMA max_page_count = {most}")


async def claim(store: SqliteStore, *, limit: int = 9, now: float = NOW) -> list[StoredJob]:
    return list(await store.claim(handlers=HANDLERS, limit=limit, now=now))


async def test_a_second_process_is_refused(sqlite: SqliteStore) -> None:
    """Its error names the file and who uses it, and the first process goes on."""
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OPEN, str(sqlite._path), stdout=subprocess.PIPE
    )
    output, _ = await other.communicate()
    who = f'another process (the app "potassium", process {os.getpid()})'
    assert f"{sqlite._path} is in use by {who}" in output.decode()
    assert "uvicorn without --workers" in output.decode()
    await sqlite.submit(new_job())


async def test_the_file_is_free_when_the_store_was_closed(tmp_path: Path) -> None:
    """Another process can open it then."""
    async with opened(tmp_path / "jobs.db"):
        pass
    with sqlite3.connect(tmp_path / "jobs.db") as other:
        other.execute("BEGIN EXCLUSIVE")
    other.close()


async def test_the_folder_is_made(tmp_path: Path) -> None:
    """The path may be in a folder that does not exist."""
    async with opened(tmp_path / "a" / "b" / "jobs.db") as store:
        job = await store.submit(new_job())
        assert await store.get(job.id) == job.light


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The error names the mistake, and the file is unchanged."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"no database, " * 1000)
    with pytest.raises(UsageError, match=r"notes\.txt is not an SQLite database"):
        await SqliteStore(path).open()
    assert path.read_bytes() == b"no database, " * 1000


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """Its tables are left alone."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE jobs (id)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"other\.db belongs to another program"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


async def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    """This version cannot know what its contents mean."""
    path = tmp_path / "jobs.db"
    async with opened(path):
        pass
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 1000")
    other.close()
    with pytest.raises(UsageError, match=r"jobs\.db was written by a newer version"):
        await SqliteStore(path).open()


@pytest.mark.parametrize("path", [".", "file/jobs.db"])
async def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path, path: str) -> None:
    """The path is a folder, or has a file where a folder should be."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be opened for jobs.*Jobs\(path=None\)"):
        await SqliteStore(tmp_path / path).open()


@pytest.mark.parametrize("name", ["", "jobs.db"])
async def test_a_read_only_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of the folder or of the file; the message says what to do."""
    async with opened(tmp_path / "jobs.db"):
        pass
    locked = tmp_path / name
    monkeypatch.setattr("os.access", lambda path, mode: path != locked)  # root may do anything
    with pytest.raises(UsageError, match=rf"{locked} is read-only.*Jobs\(path=\.\.\.\)"):
        await SqliteStore(tmp_path / "jobs.db").open()


async def test_a_file_that_cannot_be_taken_over_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails after it was opened: its thread would keep the process from ending."""

    async def fails(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    path = tmp_path / "jobs.db"
    with monkeypatch.context() as context:
        context.setattr("potassium.jobs.sqlite.kept_clock.resume", fails)
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
            await SqliteStore(path).open()
    async with opened(path):
        pass


async def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to type."""
    monkeypatch.setitem(sys.modules, "aiosqlite", None)
    with pytest.raises(UsageError, match=r'pip install "potassium\[jobs\]"'):
        await SqliteStore(tmp_path / "jobs.db").open()


async def test_an_older_file_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each missing migration runs once, and the contents of the file are kept."""
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        job = await store.submit(new_job())
    scripts = [
        *schema.MIGRATIONS,
        "CREATE TABLE second (a)",
        "ALTER TABLE second ADD COLUMN b; INSERT INTO second VALUES (1, 2)",
    ]
    monkeypatch.setattr(schema, "MIGRATIONS", scripts)
    for _ in range(2):
        async with opened(path) as store:
            assert await store.get(job.id) == job.light
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT * FROM second").fetchall() == [(1, 2)]
        assert other.execute("PRAGMA user_version").fetchone() == (len(scripts),)
    other.close()


async def test_jobs_of_the_first_version_are_kept(tmp_path: Path) -> None:
    """With their idempotency keys. They are nobody's, under no suspicion, and run as before."""
    path = tmp_path / "jobs.db"
    with sqlite3.connect(path) as old:
        old.executescript(schema.MIGRATIONS[0])
        old.execute(
            "INSERT INTO jobs (seq, id, handler, request_id, priority, rank, attempts_limit,"
            " created_at, idempotency_key, fingerprint, status, due_at, is_due, attempts, crashes)"
            " VALUES (1, 'old', '/train', 'r', 1, 257, 1, 0, 'k', x'31', 'queued', 0, 1, 0, 0)"
        )
        old.execute("INSERT INTO inputs VALUES (1, '[]', x'')")
        old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
    old.close()
    async with opened(path) as store:
        known = await store.submit(new_job(idempotency_key="k", fingerprint=b"1"))
        assert (known.id, known.owner) == ("old", "")
        assert await store.find(owner="a", limit=9) == []
        (job,) = await store.claim(handlers=["/train"], limit=9, now=NOW)
        assert (job.id, job.is_suspect, job.request_line) == ("old", False, "")


async def test_a_single_receiver_gets_several_deliveries_at_a_time(tmp_path: Path) -> None:
    """In their order; where others wait too, each has one."""
    side: dict[str, Any] = {"is_guarded": False, "now": NOW, "limit": 9, "full": Full()}
    async with opened(tmp_path / "jobs.db") as store:
        given = [delivery() for _ in range(4)]
        for one in given:
            await store.add(one)
        assert [one.id for one in await store.take_due(**side, each=3)] == [
            one.id for one in given[:3]
        ]
        await store.add(delivery(url="https://b.test/"))
        await store.add(delivery(url="https://b.test/"))
        hosts = sorted(one.host for one in await store.take_due(**side, each=3))
        assert hosts == ["a.test", "b.test"]


async def test_deliveries_of_before_wait_in_line_too(tmp_path: Path) -> None:
    """In a file from before, too, all ports of a machine that clients name are one owner's."""
    path = tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(schema.MIGRATIONS[0])
        for is_guarded in (False, True):
            row = dict(row_of(delivery(url="http://a.test.:81/", is_guarded=is_guarded)))
            statement = ADD_DELIVERY
            for newer in (", :owner", ", owner", " :trace,", " trace,"):
                statement = statement.replace(newer, "")
            old.execute(statement, row)
        old.commit()
        old.execute("PRAGMA user_version = 1")
        old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    async with opened(path) as store:
        for is_guarded, owner in ((False, "a.test.:81"), (True, "a.test")):
            side: dict[str, Any] = {"is_guarded": is_guarded, "now": NOW, "limit": 9}
            assert list(await store.take_due(**side, full=Full(owners=[owner]))) == []
            (taken,) = await store.take_due(**side, full=Full())
            assert taken.owner == owner


async def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays at its old version."""
    path = tmp_path / "jobs.db"
    async with opened(path):
        pass
    with monkeypatch.context() as context:
        broken = [*schema.MIGRATIONS, "CREATE TABLE second (a); nonsense"]
        context.setattr(schema, "MIGRATIONS", broken)
        with pytest.raises(UsageError, match="nonsense"):
            await SqliteStore(path).open()
    async with opened(path) as store:
        await store.submit(new_job())


async def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    """Jobs, events, deliveries and attempts are kept, and new jobs continue the order."""
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        first = await store.submit(new_job(idempotency_key="k"))
        (running,) = await claim(store)
        event = Event(id=1, kind="status", data=b"{}")
        tells = delivery(job_id=first.id)
        await store.end(running, Status.FAILED, now=NOW, events=[event], deliveries=[tells])
        await take_due(store, limit=1)
        tried = attempt(tells, next_at=NOW + 1)
        await store.tried(tells, tried)
        before = await store.get(first.id)
    async with opened(path) as store:
        assert await store.get(first.id) == before
        assert list(await store.events(first.id)) == [event]
        assert list(await store.attempts_of(first.id)) == [tried]
        (again,) = await take_due(store, now=NOW + 1, limit=1)
        assert again == tells.tried(NOW + 1)
        assert (await store.submit(new_job(idempotency_key="k"))).id == first.id
        assert (await store.submit(new_job())).seq == 2


async def test_each_commit_is_on_the_disk(sqlite: SqliteStore) -> None:
    """The write-ahead log is synced with every transaction, not only at a checkpoint."""
    settings = {
        name: next(iter(await sqlite._file.connection.execute_fetchall(f"PRAGMA {name}")))[0]
        for name in ("synchronous", "journal_mode", "foreign_keys")
    }
    assert settings == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}


async def test_what_was_acknowledged_survives_a_crash(sqlite: SqliteStore, tmp_path: Path) -> None:
    """Once a submit or a claim has returned, the next process finds it in the file."""
    await sqlite.submit(new_job())
    await sqlite.submit(new_job())
    (running,) = await claim(sqlite, limit=1)
    async with opened(crashed(sqlite, tmp_path / "crash")) as store:
        assert await store.count(Status.QUEUED) == 1
        assert await store.get(running.id) == running.light


async def test_jobs_left_behind_are_those_of_the_process_before(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    """They come in order of submission, until they end or are put back, without later claims."""
    for _ in range(4):
        await sqlite.submit(new_job())
    left = await claim(sqlite, limit=3)
    async with opened(crashed(sqlite, tmp_path / "crash")) as store:
        await claim(store)
        assert list(await store.left_behind()) == [[job.light for job in left]]
        await store.end(left[0], Status.FAILED, now=NOW)
        await store.put_back(left[1], due_at=NOW, error=None)
        (again,) = await claim(store)
        assert again.id == left[1].id
        assert list(await store.left_behind()) == [[left[2].light]]


async def test_a_delivery_taken_before_a_crash_is_due_again(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    """Nobody knows whether it arrived, so it is posted again, with the same id."""
    given = delivery()
    await sqlite.add(given)
    await take_due(sqlite, limit=1)
    async with opened(crashed(sqlite, tmp_path / "crash")) as store:
        assert list(await take_due(store, limit=1)) == [given]


async def test_simultaneous_calls_share_a_transaction(sqlite: SqliteStore) -> None:
    """A hundred submits wait for one write to the disk."""
    statements = await statements_of(sqlite)
    calls = [sqlite.submit(new_job(idempotency_key=f"k{n}" if n % 2 else None)) for n in range(100)]
    jobs = await asyncio.gather(*calls)
    assert len({job.seq for job in jobs}) == await sqlite.count(Status.QUEUED) == 100
    assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1 + 1  # the count


async def test_what_many_ask_at_a_time_is_asked_once(sqlite: SqliteStore) -> None:
    """Counts share a query that sees the submits beside it, even if the first caller gives up."""
    statements = await statements_of(sqlite)
    given_up = asyncio.create_task(sqlite.count(Status.QUEUED))
    calls = [(sqlite.submit(new_job(idempotency_key=f"k{n}"))) for n in range(5)]
    counts = [sqlite.count(Status.QUEUED) for _ in range(5)]
    answers = asyncio.gather(*calls, *counts)
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await answers)[5:] == [5] * 5
    assert sum("FROM counts\n    WHERE" in statement for statement in statements) == 1


async def test_reading_writes_nothing(sqlite: SqliteStore) -> None:
    """Nor does a claim that finds nothing: a batch of such calls does not wait for the disk."""
    job = await sqlite.submit(new_job(handler="/other"))
    log = sqlite._path.with_name(f"{sqlite._path.name}-wal")
    before = (log.stat().st_size, log.stat().st_mtime_ns)
    await asyncio.gather(
        sqlite.get(job.id), sqlite.find(limit=5), sqlite.position(job), claim(sqlite)
    )
    await take_due(sqlite, limit=5)
    assert (log.stat().st_size, log.stat().st_mtime_ns) == before


async def test_taking_a_delivery_writes_nothing(sqlite: SqliteStore) -> None:
    """The file does not record that a delivery is taken."""
    await sqlite.add(delivery())
    log = sqlite._path.with_name(f"{sqlite._path.name}-wal")
    before = (log.stat().st_size, log.stat().st_mtime_ns)
    assert len(await take_due(sqlite, limit=5)) == 1
    assert (log.stat().st_size, log.stat().st_mtime_ns) == before


async def test_a_full_disk_fails_the_calls_and_nothing_else(
    sqlite: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of a failed batch is kept; the store works again once there is room."""
    kept = await sqlite.submit(new_job())
    await pages(sqlite, 1)
    big = [new_job(body=b"x" * 100_000, idempotency_key=key) for key in (None, "k", None)]
    outcomes = await asyncio.gather(*map(sqlite.submit, big), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreFailed] * 3
    assert {getattr(outcome, "status", None) for outcome in outcomes} == {503}
    assert "full" in str(outcomes[0].__cause__)  # type: ignore[union-attr] # an error
    assert str(sqlite._path) not in str(outcomes[0])
    assert ["cannot be stored" in record.getMessage() for record in caplog.records] == [True]
    assert await sqlite.get(kept.id) == kept.light
    await pages(sqlite, 1_000_000)
    assert await sqlite.count(Status.QUEUED) == 1
    await asyncio.gather(*map(sqlite.submit, big))
    assert await sqlite.count(Status.QUEUED) == 4
    assert [job.id for job in await claim(sqlite, limit=1)] == [kept.id]


async def test_a_delivery_is_not_taken_by_a_batch_that_failed(sqlite: SqliteStore) -> None:
    """The delivery stays due."""
    await sqlite.add(delivery())
    await pages(sqlite, 1)
    outcomes = await asyncio.gather(
        take_due(sqlite, limit=1),
        sqlite.submit(new_job(body=b"x" * 100_000)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoreFailed] * 2
    await pages(sqlite, 1_000_000)
    assert len(await take_due(sqlite, limit=1)) == 1


@pytest.mark.filterwarnings("error")
async def test_what_cannot_be_stored_fails_alone(sqlite: SqliteStore) -> None:
    """A job with an invalid value does not fail the jobs submitted beside it."""
    known = await sqlite.submit(new_job())
    outcomes = await asyncio.gather(
        sqlite.submit(new_job(webhook_url="https://\ud800")),
        sqlite.submit(new_job()),
        sqlite.submit(new_job(id=known.id)),
        sqlite.submit(new_job(idempotency_key="k")),
        return_exceptions=True,
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [StoreFailed, StoredJob, StoreFailed, StoredJob]
    assert await sqlite.count(Status.QUEUED) == 3


async def test_a_cancelled_call_harms_no_other(sqlite: SqliteStore) -> None:
    """Whenever it is cancelled, the other calls of its batch and all later ones are done."""
    for turns in range(12):
        calls = [asyncio.create_task(sqlite.submit(new_job())) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[turns % 5].cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, StoredJob) for outcome in outcomes) >= 4
    await sqlite.submit(new_job())


async def test_closing_finishes_what_is_under_way(tmp_path: Path) -> None:
    """Every call made before the close is answered; every call after it is refused."""
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    calls = [asyncio.create_task(store.submit(new_job())) for _ in range(5)]
    await asyncio.sleep(0)
    await store.close()
    assert {type(await call) for call in calls} == {StoredJob}
    with pytest.raises(StoreFailed, match="closed"):
        await store.submit(new_job())
    async with opened(store._path) as again:
        assert await again.count(Status.QUEUED) == 5


async def test_a_cancelled_close_closes_all_the_same(tmp_path: Path) -> None:
    """The file is released soon after."""
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await store.close()
    async with opened(store._path):
        pass


async def test_a_store_that_was_not_opened_fails(tmp_path: Path) -> None:
    """It does not touch the file."""
    with pytest.raises(StoreFailed, match="not open"):
        await SqliteStore(tmp_path / "jobs.db").submit(new_job())
    assert not (tmp_path / "jobs.db").exists()


async def test_the_working_directory_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code of models changes it; the file of jobs stays where it was named."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with opened(Path("jobs.db")) as store:
        monkeypatch.chdir(tmp_path / "elsewhere")
        await store.submit(new_job(id="a"))
        assert await store.get("a") is not None
    assert (tmp_path / "jobs.db").exists()
