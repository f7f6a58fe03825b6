"""The files beside the database: private, complete before their rows, and removed after them."""

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from support.jobs import NOW, new_job

from potassium import Jobs
from potassium.errors import InputLost, StoreFailed
from potassium.http.spooled import IN_MEMORY
from potassium.jobs.model import Status, StoredJob
from potassium.jobs.sqlite.store import SqliteStore

HANDLERS = ["/train"]
LARGE = os.urandom(IN_MEMORY + 1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db-files"


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def only(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def let_all_read(path: Path) -> None:
    path.chmod(0o755)


async def run(store: SqliteStore) -> StoredJob:
    (job,) = await store.claim(handlers=HANDLERS, limit=1, now=NOW)
    return job


async def test_a_large_input_is_a_private_file(store: SqliteStore, folder: Path) -> None:
    """And not in the database; a small one is."""
    await store.submit(new_job(body=bytes(IN_MEMORY)))
    assert names(folder) == []
    await store.submit(new_job(body=LARGE))
    file = only(folder)
    assert (mode(folder), mode(file)) == (0o700, 0o600)
    assert file.read_bytes() == LARGE
    assert LARGE[:100] not in store._path.with_name("jobs.db-wal").read_bytes()
    let_all_read(folder)
    await store.submit(new_job(body=LARGE))
    assert mode(folder) == 0o700


async def test_it_is_on_the_disk_before_its_job(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, and its name in the folder."""
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    submitting = store._add

    async def add(job: StoredJob) -> StoredJob:
        file = only(folder)
        assert synced == [str(folder.parent), str(file), str(folder)]
        return await submitting(job)

    monkeypatch.setattr(store, "_add", add)
    await store.submit(new_job(body=LARGE))


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED, Status.EXPIRED])
async def test_it_is_removed_once_the_job_needs_it_no_longer(
    store: SqliteStore, folder: Path, status: Status
) -> None:
    """A second later at most: by the next upkeep."""
    await store.submit(new_job(body=LARGE))
    await store.end(await run(store), status, now=NOW)
    await store.upkeep()
    assert names(folder) == []
    assert store._files.doubtful == set()


async def test_it_is_removed_with_a_failed_job(store: SqliteStore, folder: Path) -> None:
    """Which may be retried until then."""
    await store.submit(new_job(body=LARGE))
    await store.end(await run(store), Status.FAILED, now=NOW)
    await store.upkeep()
    assert len(names(folder)) == 1
    await store.delete_ended(before=NOW + 1, limit=9)
    await store.upkeep()
    assert names(folder) == []


async def test_an_end_that_was_not_stored_removes_nothing(store: SqliteStore, folder: Path) -> None:
    """Its transaction was rolled back."""
    await store.submit(new_job(body=LARGE))
    job = await run(store)
    await store._file.connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreFailed):
        await store.end(job, Status.SUCCEEDED, now=NOW)
    await store._file.connection.execute("PRAGMA query_only = 0")
    (file,) = names(folder)
    store._files.doubtful.add(file)
    await store.upkeep()
    assert names(folder) == [file]
    assert await store.end(job, Status.SUCCEEDED, now=NOW)


async def test_a_file_stays_doubtful_while_the_database_cannot_be_read(
    store: SqliteStore, folder: Path
) -> None:
    """It is removed later."""
    await store.submit(new_job(body=LARGE))
    store._files.find()

    async def unreadable(names: Sequence[str]) -> Sequence[str]:
        raise StoreFailed

    with pytest.raises(StoreFailed):
        await store._files.settle(unreadable)
    assert sorted(store._files.doubtful) == names(folder)


async def test_a_job_that_is_not_stored_leaves_no_file(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the store fails, or the client leaves while it is being written or stored."""
    await store._file.connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreFailed):
        await store.submit(new_job(body=LARGE))
    await store._file.connection.execute("PRAGMA query_only = 0")
    await store.upkeep()
    assert names(folder) == []
    for turns in range(12):
        submitting = asyncio.create_task(store.submit(new_job(id=f"t{turns}", body=LARGE)))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        submitting.cancel()
        await asyncio.wait({submitting})
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - {asyncio.current_task(), store._open._task}:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await store.upkeep()
    await store.upkeep()
    stored = await store._file.connection.execute_fetchall("SELECT file FROM inputs")
    assert sorted(names(folder)) == sorted(row["file"] for row in stored)
    assert store._files.doubtful == set()


async def test_a_full_disk_refuses_large_jobs_alone(
    store: SqliteStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log tells once; nothing is left of the file; small jobs are stored."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", full)
        for _ in range(20):
            with pytest.raises(StoreFailed):
                await store.submit(new_job(body=LARGE))
    (record,) = caplog.records
    assert "No space left" in record.getMessage()
    assert names(folder) == []
    await store.submit(new_job())
    await store.submit(new_job(body=LARGE))


async def test_what_a_killed_process_left_is_removed_at_the_next_start(
    tmp_path: Path, folder: Path
) -> None:
    """Files without a job; those of jobs stay."""
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    await store.submit(new_job(body=LARGE))
    kept = names(folder)
    await store.close()
    (folder / "orphan").write_bytes(LARGE)
    await store.open()
    await store.upkeep()
    assert names(folder) == kept
    await store.close()


@pytest.mark.parametrize("fault", ["missing", "truncated", "unreadable"])
async def test_a_file_that_is_lost_is_told(store: SqliteStore, folder: Path, fault: str) -> None:
    """The claim succeeds; reading the input raises."""
    await store.submit(new_job(body=LARGE))
    file = only(folder)
    if fault == "missing":
        file.unlink()
    elif fault == "truncated":
        os.truncate(file, 1000)
    else:
        file.unlink()
        file.symlink_to(file)
    job = await run(store)
    assert not isinstance(job.body, bytes)
    with pytest.raises(InputLost):
        job.body.share()


async def test_files_are_found_again_after_a_restart(tmp_path: Path, folder: Path) -> None:
    """Also if the folder of the store has moved."""
    store = SqliteStore(tmp_path / "jobs.db", Jobs())
    await store.open()
    await store.submit(new_job(body=LARGE))
    await store.close()
    moved = Path(tempfile.mkdtemp(dir=tmp_path))
    for one in (tmp_path / "jobs.db", folder):
        shutil.move(one, moved / one.name)
    store = SqliteStore(moved / "jobs.db", Jobs())
    await store.open()
    job = await run(store)
    assert not isinstance(job.body, bytes)
    shared = job.body.share()
    assert shared.read() == LARGE
    shared.close()
    await store.close()


async def test_a_database_that_is_written_anew_knows_its_files(
    store: SqliteStore, folder: Path
) -> None:
    """And has them removed with their jobs as before."""
    await store.submit(new_job(body=LARGE))
    store._path.unlink()
    await store.submit(new_job())
    job = await run(store)
    assert not isinstance(job.body, bytes)
    job.body.share().close()
    await store.end(job, Status.SUCCEEDED, now=NOW)
    await store.upkeep()
    assert names(folder) == []
