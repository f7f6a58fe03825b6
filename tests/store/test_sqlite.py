"""The file of a local store: shared by processes, private, and no larger than it has to be."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.stores import ManualClock

from potassium import UsageError
from potassium.store import LocalConfig, Store, StoreUnavailable
from potassium.store.sqlite import CLEAN_EVERY, MOST_CLEANED, SqliteBackend


def rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    ((count,),) = connection.execute("SELECT count(*) FROM entries")
    connection.close()
    return int(count)


def test_the_default_is_a_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of ours, which is made; only its owner can read it."""
    monkeypatch.chdir(tmp_path)
    for store in (Store(), Store("local"), Store(backend="local")):
        store.set("key", [*(store.get("key") or []), 1])
        found = store.get("key")
        store.close()
    assert found == [1, 1, 1]
    mode = (tmp_path / ".potassium" / "store.db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


PROCESS = """
import sys
from potassium.store import LocalConfig, Store
store = Store(config=LocalConfig(path=sys.argv[1]))
for turn in range(50):
    store.set(f"{sys.argv[2]}-{turn}", turn)
    store.set("shared", turn)
    assert store.get(f"{sys.argv[2]}-{turn}") == turn
"""


def test_processes_may_share_a_file(tmp_path: Path) -> None:
    """They create it at the same time, too."""
    path = tmp_path / "store.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), str(number)], stderr=subprocess.PIPE
        )
        for number in range(6)
    ]
    assert [one.communicate(timeout=60)[1] for one in processes] == [b""] * 6
    assert rows(path) == 6 * 50 + 1


def test_what_has_expired_is_deleted_now_and_then(tmp_path: Path, clock: ManualClock) -> None:
    """Although nobody asks for it; the file shrinks. A later look deletes the rest of many."""
    path = tmp_path / "store.db"
    backend = SqliteBackend(LocalConfig(path=path), 5.0, clock)
    for number in range(MOST_CLEANED + 10):
        backend.set(f"key-{number}", bytes(500), 1.0)
    backend.set("kept", b"1", None)
    large = _size(path)
    clock.now += CLEAN_EVERY
    backend.set("one", b"1", None)
    assert rows(path) == 10 + 2
    backend.set("two", b"1", None)
    assert rows(path) == 3
    backend.close()
    assert _size(path) < large / 2


def _size(path: Path) -> int:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def test_the_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE things (id)")
    other.close()
    before = path.read_bytes()
    store = Store(config=LocalConfig(path=path))
    with pytest.raises(UsageError, match=r"belongs to another program.*LocalConfig\(path="):
        store.set("key", 1)
    store.close()
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("no database " * 1000)
    store = Store(config=LocalConfig(path=path))
    with pytest.raises(StoreUnavailable):
        store.get("key")
    store.close()


def test_a_folder_that_cannot_be_made_is_an_error_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    store = Store(config=LocalConfig(path=tmp_path / "folder" / "store.db"))
    with pytest.raises(StoreUnavailable):
        store.set("key", 1)
    (tmp_path / "folder").unlink()
    store.set("key", 1)
    assert store.get("key") == 1
    store.close()


def test_values_outlive_the_process(tmp_path: Path) -> None:
    code = "from potassium.store import Store; store = Store(); print(store.get('key')); "
    first = code + "store.set('key', {'a': 1})"
    shown = [
        subprocess.run(
            [sys.executable, "-c", one], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for one in (first, code)
    ]
    assert shown == ["None\n", "{'a': 1}\n"]
