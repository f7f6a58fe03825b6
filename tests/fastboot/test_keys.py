"""A snapshot that does not fit is not used: never a wrong model."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import Snapshot

from potassium.fastboot import keys
from potassium.fastboot.unfit import Unfit


def test_one_that_fits_is_restored(snapshot: Snapshot) -> None:
    assert snapshot.read() == {"model": [1, 2]}


def refused(snapshot: Snapshot) -> str:
    """Return why a snapshot is not used."""
    with pytest.raises(Unfit) as caught:
        snapshot.read()
    return str(caught.value)


def test_a_source_file_that_has_changed(snapshot: Snapshot) -> None:
    snapshot.app.write_text("x = 2\n")
    assert refused(snapshot) == "app.py has changed"


def test_a_source_file_that_is_gone(snapshot: Snapshot) -> None:
    snapshot.change_keys(sources={**snapshot.manifest.keys.sources, "other.py": "1"})
    assert refused(snapshot) == "other.py has changed"


def test_a_source_file_counts_by_its_content_and_not_by_its_time(snapshot: Snapshot) -> None:
    """Images and checkouts give files other times."""
    os.utime(snapshot.app, (1, 1))
    assert snapshot.read()


@pytest.mark.parametrize("name", ["Python", "machine", "potassium", "anyio"])
def test_another_version(snapshot: Snapshot, name: str) -> None:
    """Of Python, of the machine, of Potassium, and of packages that the cache comes from."""
    now = snapshot.manifest.keys.software
    snapshot.change_keys(software={**now, name: "0.0"})
    assert refused(snapshot) == f"{name} is {now[name]}, and was 0.0"


def test_a_package_that_is_not_installed_any_more(snapshot: Snapshot) -> None:
    snapshot.change_keys(software={"none-of-this-name": "1.0"})
    assert refused(snapshot) == "none-of-this-name is not there, and was 1.0"


@pytest.mark.parametrize(
    ("before", "now"),
    [("cpu", "cuda 9.0"), ("cuda 8.0", "cuda 9.0"), ("cuda 9.0", "cpu")],
)
def test_another_kind_of_device(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, before: str, now: str
) -> None:
    snapshot.change_keys(accelerator=before)
    monkeypatch.setattr(keys, "accelerator", lambda: now)
    assert refused(snapshot) == f"it was made for {before}, and this is {now}"


def test_the_kind_of_a_gpu_is_its_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cuda:
        @staticmethod
        def get_device_capability() -> tuple[int, int]:
            return 9, 0

    class Torch:
        cuda = Cuda

    monkeypatch.setattr(keys, "own_device", lambda: "cuda:0")
    monkeypatch.setitem(keys.sys.modules, "torch", Torch)  # type: ignore[attr-defined]
    assert keys.accelerator() == "cuda 9.0"


@pytest.mark.parametrize(("before", "now"), [("base", "large"), (None, "large"), ("base", None)])
def test_an_environment_variable_with_another_value(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, before: str | None, now: str | None
) -> None:
    """Or one that is set now, or is not set any more."""
    digest = None if before is None else hashlib.sha256(before.encode()).hexdigest()
    snapshot.change_keys(environment={"MODEL_NAME": digest})
    monkeypatch.delenv("MODEL_NAME", raising=False)
    if now is not None:
        monkeypatch.setenv("MODEL_NAME", now)
    assert "the environment variable MODEL_NAME, which init reads" in refused(snapshot)

    if before is None:
        monkeypatch.delenv("MODEL_NAME")
    else:
        monkeypatch.setenv("MODEL_NAME", before)
    assert snapshot.read()


def test_a_value_of_a_variable_is_not_stored(snapshot: Snapshot) -> None:
    """It may be a secret."""
    environ = {"HF_TOKEN": "hf_secret"}
    snapshot.change_keys(environment={"HF_TOKEN": keys.value_of("HF_TOKEN", environ)})
    assert "hf_secret" not in (snapshot.path / "manifest.json").read_text()


def change_size(weights: Path) -> None:
    facts = weights.stat()
    weights.write_bytes(b"other weights")
    os.utime(weights, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def change_time(weights: Path) -> None:
    os.utime(weights, ns=(1, weights.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [change_size, change_time, Path.unlink])
def test_a_file_that_init_reads_has_changed(snapshot: Snapshot, change: Any) -> None:
    """Its size, its time, or it is gone."""
    change(snapshot.weights)
    assert refused(snapshot) == "weights.bin, which init reads, has changed"


def test_a_file_whose_time_was_cut_to_seconds_is_the_same(snapshot: Snapshot) -> None:
    """As layers of images are, and archives."""
    os.utime(snapshot.weights, ns=(1, 1_700_000_000_123_456_789))
    snapshot.change_keys(files={"weights.bin": keys.facts_of(snapshot.weights)})
    os.utime(snapshot.weights, ns=(1, 1_700_000_000_000_000_000))
    assert snapshot.read()
    os.utime(snapshot.weights, ns=(1, 1_700_000_001_000_000_000))
    assert refused(snapshot) == "weights.bin, which init reads, has changed"


def test_a_file_that_init_looked_for_is_there_now(snapshot: Snapshot) -> None:
    (snapshot.folder / "other.bin").write_bytes(b"")
    assert refused(snapshot) == "other.bin, which init looks for, has changed"


def test_another_device_that_init_is_told(snapshot: Snapshot) -> None:
    with pytest.raises(Unfit, match="told the device None, and would be told cuda:1 here"):
        snapshot.read(replace(snapshot.place, device="cuda:1"))


def test_another_function(snapshot: Snapshot) -> None:
    with pytest.raises(Unfit, match="of the function init, and that of the app is load"):
        snapshot.read(replace(snapshot.place, init="load"))


def test_the_folder_of_an_app_may_be_moved(snapshot: Snapshot, tmp_path: Path) -> None:
    """Paths below it are relative: an image has it elsewhere."""
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    place = replace(snapshot.place, snapshot=moved / "snapshot", file=moved / "app.py")
    assert snapshot.read(place) == {"model": [1, 2]}
