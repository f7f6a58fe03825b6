"""Tests of reading from the disk what a start is about to need."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import Snapshot

import potassium.fastboot.read_ahead as read_ahead_module
from potassium.building.needed import needed_files
from potassium.fastboot.read_ahead import NEEDED, read_ahead
from potassium.fastboot.trusted import write_own
from potassium.serving.snapshot_places import read_ahead_for


class Disk:
    """What was asked of the system, of files that are on the disk alone if they are ``cold``."""

    def __init__(self) -> None:
        self.cold: set[str] = set()
        self.read: list[str] = []

    def preadv(self, descriptor: int, *_: Any) -> int:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()) in self.cold:
            raise BlockingIOError
        return 1

    def prefetch(self, files: list[str]) -> None:
        self.read += files


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "preadv", disk.preadv)
    monkeypatch.setattr(read_ahead_module, "prefetch", disk.prefetch)
    return disk


@pytest.fixture
def needed(snapshot: Snapshot) -> list[str]:
    """The files that the start of ``snapshot`` needs."""
    files = [snapshot.folder / "library.so", snapshot.folder / "module.pyc"]
    for file in files:
        file.write_bytes(b"content")
    write_own(snapshot.path / NEEDED, "\n".join(map(str, files)).encode())
    return [str(file) for file in files]


def all_read(snapshot: Path, disk: Disk) -> list[str]:
    thread = read_ahead(snapshot)
    if thread is not None:
        thread.join(10)
    return disk.read


def test_what_is_in_memory_is_not_read(snapshot: Snapshot, disk: Disk, needed: list[str]) -> None:
    """Then a start pays for three files that it opens."""
    del needed
    assert read_ahead(snapshot.path) is None
    assert disk.read == []


def test_modules_are_read_before_tensors(snapshot: Snapshot, disk: Disk, needed: list[str]) -> None:
    """They are needed first; the largest library stands for all of them."""
    tensors = str(snapshot.path / "tensors.bin")
    disk.cold = {needed[0], tensors}
    assert all_read(snapshot.path, disk) == [*needed, tensors]


@pytest.mark.parametrize("which", ["modules", "tensors"])
def test_only_what_is_not_in_memory_is_read(
    snapshot: Snapshot, disk: Disk, needed: list[str], which: str
) -> None:
    parts = {"modules": needed, "tensors": [str(snapshot.path / "tensors.bin")]}
    disk.cold = set(parts[which])
    assert all_read(snapshot.path, disk) == parts[which]


def test_tensors_that_would_fill_the_memory_are_left_alone(
    keep: Callable[..., Snapshot], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else is read would be pushed out by them."""
    snapshot = keep({"model": bytes(100_000)})
    tensors = snapshot.path / "tensors.bin"
    tensors.write_bytes(bytes(100_000))
    write_own(snapshot.path / NEEDED, b"")
    disk.cold = {str(tensors)}
    memory = {"SC_PHYS_PAGES": 48, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", memory.__getitem__)
    assert read_ahead(snapshot.path) is None
    memory["SC_PHYS_PAGES"] = 49
    assert all_read(snapshot.path, disk) == [str(tensors)]


@pytest.mark.parametrize("why", ["others may write", "no list", "no snapshot"])
def test_what_cannot_be_trusted_or_is_not_there_is_left_alone(
    snapshot: Snapshot, disk: Disk, needed: list[str], why: str
) -> None:
    """The list is of somebody else then, who would choose what is opened."""
    disk.cold = set(needed)
    if why == "others may write":
        (snapshot.path / NEEDED).chmod(0o664)
    elif why == "no list":
        (snapshot.path / NEEDED).unlink()
    path = snapshot.folder / "gone" if why == "no snapshot" else snapshot.path
    assert read_ahead(path) is None
    assert disk.read == []


def test_it_begins_while_a_snapshot_is_restored(
    snapshot: Snapshot, disk: Disk, needed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of somebody else's begins with that."""
    began: list[Path] = []
    monkeypatch.setattr("potassium.fastboot.restoring.read_ahead", began.append)
    del disk, needed
    assert snapshot.read() == {"model": [1, 2]}
    assert began == [snapshot.path]


@pytest.mark.parametrize("module", ["app", "package.app"])
def test_the_snapshots_of_a_module_are_found_before_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """Nobody knows so far how its init is called."""
    monkeypatch.delenv("POTASSIUM_FASTBOOT", raising=False)
    began: list[Path] = []
    monkeypatch.setattr(read_ahead_module, "read_ahead", began.append)
    folder = tmp_path.joinpath(*module.split(".")[:-1], ".potassium", "fastboot")
    read_ahead_for(tmp_path, module)
    assert began == []
    for name in ("app.init", "app.load", "other.init"):
        (folder / name).mkdir(parents=True)
    read_ahead_for(tmp_path, module)
    assert sorted(began) == [folder / "app.init", folder / "app.load"]


def test_the_variable_says_which_snapshot_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[Path] = []
    monkeypatch.setattr(read_ahead_module, "read_ahead", began.append)
    (tmp_path / ".potassium" / "fastboot" / "app.init").mkdir(parents=True)
    monkeypatch.setenv("POTASSIUM_FASTBOOT", str(tmp_path / "elsewhere"))
    read_ahead_for(tmp_path, "app")
    assert began == [tmp_path / "elsewhere"]
    monkeypatch.setenv("POTASSIUM_FASTBOOT", "off")
    read_ahead_for(tmp_path, "app")
    assert began == [tmp_path / "elsewhere"]


def test_libraries_come_before_modules_and_those_in_the_order_of_their_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    inside = tmp_path / "snapshot"
    inside.mkdir()
    for file in (tmp_path / "zz_first.py", tmp_path / "aa_second.py", inside / "own_inside.py"):
        file.write_text("")
    monkeypatch.syspath_prepend(inside)
    names = ["zz_first", "aa_second", "own_inside"]
    for name in names:
        __import__(name)
    files = needed_files(inside)
    for name in names:
        del sys.modules[name]
    sources = [file for file in files if Path(file).is_relative_to(tmp_path)]
    assert [Path(file).name.partition(".")[0] for file in sources] == ["zz_first", "aa_second"]
    libraries = [file for file in files if ".so" in Path(file).name]
    assert libraries
    assert libraries[0] == max(libraries, key=lambda file: Path(file).stat().st_size)
    assert files.index(libraries[0]) == 0
