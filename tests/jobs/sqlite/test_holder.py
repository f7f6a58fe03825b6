"""Who has the file of ``SqliteStore``, as those are told that want it too."""

import json
from pathlib import Path

import pytest

from potassium.errors import UsageError
from potassium.jobs.sqlite.holder import Holder
from potassium.jobs.sqlite.store import SqliteStore


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def refusal(path: Path, second: str, *, first: str = "first") -> str:
    """Return what an app is told that wants a file which another app of its process has."""
    store = SqliteStore(path, app=first)
    await store.open()
    try:
        with pytest.raises(UsageError) as error:
            await SqliteStore(path, app=second).open()
    finally:
        await store.close()
    return str(error.value)


async def test_two_apps_of_a_process_are_both_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to type, for the default file too."""
    monkeypatch.chdir(tmp_path)
    told = await refusal(Path(".potassium/jobs.db"), "second app")
    assert told.startswith('The apps "first" and "second app" in this process both keep')
    assert str(tmp_path / ".potassium/jobs.db") in told
    assert 'Potassium("second app", jobs=Jobs(path=".potassium/second-app.db"))' in told


@pytest.mark.parametrize(
    ("first", "second", "free"),
    [("server", "server", "server-2"), ("a", "jobs", "jobs-2"), ("a", "../..", "app")],
)
async def test_the_file_to_type_is_another_one(
    tmp_path: Path, first: str, second: str, free: str
) -> None:
    """Also where both apps have one name, or the name is that of the file, or is no name."""
    told = await refusal(tmp_path / "jobs.db", second, first=first)
    assert f'jobs=Jobs(path="{tmp_path / free}.db")' in told
    assert told.startswith("Two apps named") == (first == second)


async def test_a_link_to_the_file_is_the_file(tmp_path: Path) -> None:
    """The second app may name it in another way."""
    store = SqliteStore(tmp_path / "jobs.db", app="first")
    await store.open()
    (tmp_path / "link.db").symlink_to(tmp_path / "jobs.db")
    with pytest.raises(UsageError, match='The apps "first" and "second"'):
        await SqliteStore(tmp_path / "link.db", app="second").open()
    await store.close()


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"app": "x", "process": 1}', b"\xff", None])
async def test_a_note_that_says_nothing_does_no_harm(tmp_path: Path, note: bytes | None) -> None:
    """It may be damaged, from elsewhere or missing: the lock decides."""
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    file = tmp_path / "jobs.db-holder"
    file.unlink()
    if note is not None:
        file.write_bytes(note)
    with pytest.raises(UsageError, match="is in use by another process; only one"):
        await SqliteStore(tmp_path / "jobs.db").open()
    await store.close()


def test_a_process_of_another_host_is_named_with_it(tmp_path: Path) -> None:
    """Containers that share a volume have the same process ids."""
    note = {"app": "other", "process": ["another-host", 1]}
    (tmp_path / "jobs.db-holder").write_text(json.dumps(note))
    told = str(Holder(tmp_path / "jobs.db", "mine").refusal())
    assert 'another process (the app "other", process 1 on another-host)' in told


async def test_the_note_goes_with_the_holder(tmp_path: Path) -> None:
    """What a process leaves behind that was killed is replaced."""
    (tmp_path / "jobs.db-holder").write_text('{"app": "killed", "process": ["host", 1]}')
    store = SqliteStore(tmp_path / "jobs.db", app="mine")
    await store.open()
    assert json.loads((tmp_path / "jobs.db-holder").read_text())["app"] == "mine"
    await store.close()
    assert names(tmp_path) == ["jobs.db"]


async def test_a_note_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """It only makes a message better."""
    (tmp_path / "jobs.db-holder").mkdir()
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    await store.close()
