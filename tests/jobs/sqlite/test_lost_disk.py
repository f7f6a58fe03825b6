"""A disk that is lost, full or read-only: it is noticed, and tried again, without any submit."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.jobs import NOW, new_job

from potassium.errors import StoreFailed, UsageError
from potassium.jobs.sqlite import file, group_commit
from potassium.jobs.sqlite.store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store with a job, in a folder of its own; from now on, nobody submits anything."""
    store = SqliteStore(tmp_path / "store" / "jobs.db")
    await store.open()
    await store.upkeep()
    await store.submit(new_job(body=b"kept"))
    yield store
    await store.close()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the disk of every file says of itself: it is full."""
    disk = SimpleNamespace(f_flag=0, f_bavail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    return disk


async def fault_of(store: SqliteStore) -> str | None:
    """Let the sweeper come by once; return what readiness shows then."""
    try:
        await store.overdue(now=NOW, limit=1)
        await store.upkeep()
    except StoreFailed:
        assert store.fault is not None
    return store.fault


async def assert_kept(store: SqliteStore) -> None:
    (job,) = await store.claim(handlers=["/train"], limit=9, now=NOW)
    assert job.body == b"kept"


async def pragma(store: SqliteStore, text: str) -> None:
    await store._file.connection.execute_fetchall(f"PRAGMA {text}")


async def test_a_file_that_was_removed_is_back_without_a_submit(store: SqliteStore) -> None:
    """The next sweep writes it anew."""
    shutil.rmtree(store._path.parent)
    assert await fault_of(store) is None
    assert store._path.exists()
    await assert_kept(store)


async def test_a_file_that_was_replaced_is_noticed_and_found_again(
    store: SqliteStore, tmp_path: Path
) -> None:
    """The reason is in words, until the file is back."""
    aside = store._path.replace(tmp_path / "aside.db")
    store._path.write_bytes(b"another")
    assert await fault_of(store) == "the database file was replaced by another one"
    aside.replace(store._path)
    assert await fault_of(store) is None
    await assert_kept(store)


async def test_an_unmounted_volume_is_waited_for(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written into the folder below would be missing once the volume is back."""
    folder = store._path.parent
    folder.rename(tmp_path / "volume")
    folder.mkdir()  # the place where it was mounted
    with monkeypatch.context() as context:
        context.setattr(file, "_device", lambda _: -1)
        assert await fault_of(store) == "the volume of the database file is not mounted"
    assert not list(folder.iterdir())
    folder.rmdir()
    (tmp_path / "volume").rename(folder)
    assert await fault_of(store) is None
    await assert_kept(store)


def test_the_device_of_a_folder_that_is_gone_is_that_of_the_one_above(tmp_path: Path) -> None:
    """A folder that was removed is no volume that was unmounted."""
    assert file._device(tmp_path / "gone" / "too" / "jobs.db") == tmp_path.stat().st_dev


async def test_a_disk_that_became_read_only_is_noticed(
    store: SqliteStore, full: SimpleNamespace
) -> None:
    """A remount after an error, as file systems do by themselves."""
    full.f_flag, full.f_bavail = os.ST_RDONLY, 1000
    await pragma(store, "query_only = 1")
    fault = await fault_of(store)
    assert fault is not None
    assert "readonly" in fault
    full.f_flag = 0
    assert await fault_of(store) == fault  # it says that it can be written, but it cannot
    await pragma(store, "query_only = 0")
    assert await fault_of(store) is None


async def test_a_disk_that_is_full_is_noticed(
    store: SqliteStore, full: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small write that still fits does not hide that no job does, nor does it end the fault."""
    with monkeypatch.context() as context:
        context.setattr(file, "_fill", _no_room)
        assert await fault_of(store) == "no space left on device"
        full.f_bavail = 1
        assert await fault_of(store) == "no space left on device"
    assert await fault_of(store) is None
    assert not list(store._path.parent.glob("*-room"))


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/secret/path")


async def test_a_disk_that_only_seems_full_is_left_alone(
    store: SqliteStore, full: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems do not say how much is free; they are not filled every second."""
    fills: list[Any] = []
    monkeypatch.setattr(file, "_fill", lambda *arguments: fills.append(arguments))
    for _ in range(5):
        assert await fault_of(store) is None
    assert len(fills) == 1


async def test_a_healthy_disk_is_not_written(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking costs nothing that wears a disk."""
    monkeypatch.setattr(file, "_fill", _no_room)
    changes = store._file.connection.total_changes
    for _ in range(5):
        assert await fault_of(store) is None
    assert store._file.connection.total_changes == changes


async def test_a_disk_that_hangs_is_noticed(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one behind a network does: nothing fails, and everybody waits."""
    monkeypatch.setattr(group_commit, "PATIENCE", 0.01)
    answers = asyncio.Event()
    waiting = asyncio.create_task(store._open.run(lambda _: answers.wait()))
    await asyncio.sleep(0.05)
    fault, is_waiting = store.fault, not waiting.done()
    answers.set()
    assert (fault, is_waiting) == ("the disk does not answer", True)
    monkeypatch.setattr(group_commit, "PATIENCE", 10)
    assert await waiting
    assert await fault_of(store) is None
    await assert_kept(store)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "background jobs cannot be stored: the disk does not answer",
        "background jobs can be stored again",
    ]


async def test_a_disk_that_answers_in_time_is_left_alone(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left that would call a store lost which has long been done."""
    monkeypatch.setattr(group_commit, "PATIENCE", 0.03)
    await store.upkeep()
    await asyncio.sleep(0.05)
    assert store.fault is None


async def test_writing_anew_is_tried_again_at_growing_intervals(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of gigabytes is not copied every second, and half a copy is not left behind."""
    now = store._file._retry_at + 1000.0
    monkeypatch.setattr(file, "time", SimpleNamespace(monotonic=lambda: now))
    folder = store._path.parent
    tries: list[float] = []

    def fails(path: Path) -> None:
        tries.append(now)
        assert path.exists()
        _no_room()

    with monkeypatch.context() as context:
        context.setattr(file, "_sync", fails)
        store._path.unlink()
        for _ in range(200):
            assert await fault_of(store) is not None
            assert not list(folder.glob("*-copy"))
            now += 1
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps == [1, 2, 4, 8, 16, 32, 60, 60]
    now += 60
    assert await fault_of(store) is None
    await assert_kept(store)


async def test_the_reason_names_no_path(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readiness is for everybody; the log has the details."""

    async def refuses(path: Path, *_: object) -> None:
        raise UsageError(f"{path} is in use by another process.")

    with monkeypatch.context() as context:
        context.setattr(file, "connect", refuses)
        context.setattr(file, "RETRY", 0.0)
        store._file._pause = 0.0
        store._path.unlink()
        assert await fault_of(store) == "the database file cannot be opened"
    assert str(store._path) in caplog.text
    assert await fault_of(store) is None


async def test_the_log_tells_of_each_fault(
    store: SqliteStore, full: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """Once while it lasts, and of the next one soon after it, too."""
    full.f_flag = os.ST_RDONLY
    for _ in range(2):
        await pragma(store, "query_only = 1")
        for _ in range(3):
            assert await fault_of(store) is not None
        await pragma(store, "query_only = 0")
        assert await fault_of(store) is None
        full.f_bavail = 1
        store._file._trusted_until = 0.0
    said = ["again" if "again" in text else "cannot" for text in caplog.messages]
    assert said == ["cannot", "again"] * 2
