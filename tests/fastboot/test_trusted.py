"""A snapshot is code: it is not read if others can have written it, or if it is damaged."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.snapshots import Snapshot

from potassium.fastboot import trusted
from potassium.fastboot.manifest import MANIFEST, OBJECTS, TENSORS
from potassium.fastboot.unfit import Unfit

FILES = [MANIFEST, OBJECTS, TENSORS]


def refused(snapshot: Snapshot) -> str:
    """Return why a snapshot is not used."""
    with pytest.raises(Unfit) as caught:
        snapshot.read()
    return str(caught.value)


@pytest.fixture
def snapshot(keep: Callable[..., Snapshot]) -> Snapshot:
    """Return a snapshot with something in each of its files."""
    np = pytest.importorskip("numpy")
    return keep({"array": np.arange(3000)})


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_to(snapshot: Snapshot, name: str, mode: int) -> None:
    (snapshot.path / name).chmod(mode)
    assert refused(snapshot).startswith(f"others may write to {snapshot.path / name}")


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write_to(snapshot: Snapshot, mode: int) -> None:
    snapshot.path.chmod(mode)
    assert refused(snapshot).endswith(f"type chmod go-w {snapshot.path}")


@pytest.mark.parametrize("name", ["", *FILES])
def test_what_belongs_to_somebody_else(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The folder, or a file in it."""
    owners = {(snapshot.path / name).stat().st_ino: 4711}
    fstat = os.fstat

    def others(descriptor: int) -> os.stat_result:
        facts = fstat(descriptor)
        return os.stat_result([*facts[:4], owners.get(facts.st_ino, facts.st_uid), *facts[5:]])

    monkeypatch.setattr(os, "fstat", others)
    assert refused(snapshot).endswith("belongs to user 4711, neither to this one nor to root")


def test_what_belongs_to_root(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be read: images are made by root."""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(trusted, "ROOT", snapshot.path.stat().st_uid)
    assert snapshot.read()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_a_link(snapshot: Snapshot, name: str) -> None:
    file = snapshot.path / name
    file.rename(snapshot.folder / name)
    file.symlink_to(snapshot.folder / name)
    assert refused(snapshot) == f"{file} is a link"


def test_a_folder_that_is_a_link(snapshot: Snapshot) -> None:
    elsewhere = snapshot.path.rename(snapshot.folder / "elsewhere")
    snapshot.path.symlink_to(elsewhere)
    assert refused(snapshot) == f"{snapshot.path} is a link"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_a_pipe(snapshot: Snapshot, name: str) -> None:
    """Nobody waits for what comes out of it."""
    (snapshot.path / name).unlink()
    os.mkfifo(snapshot.path / name, 0o600)
    assert refused(snapshot) == f"{snapshot.path / name} is not a file"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_there(snapshot: Snapshot, name: str) -> None:
    (snapshot.path / name).unlink()
    assert (
        refused(snapshot) == f"{snapshot.path / name} cannot be opened: No such file or directory"
    )


@pytest.mark.parametrize("name", [OBJECTS, TENSORS])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_file_of_another_size(snapshot: Snapshot, name: str, by: int) -> None:
    file = snapshot.path / name
    size = file.stat().st_size
    os.truncate(file, size + by)
    assert refused(snapshot) == f"{name} has {size + by} bytes, and not {size}: it is damaged"


def test_a_manifest_that_is_cut_short(snapshot: Snapshot) -> None:
    file = snapshot.path / MANIFEST
    os.truncate(file, file.stat().st_size - 1)
    assert refused(snapshot) == "manifest.json is damaged"


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 1}', "\0", "null"])
def test_a_manifest_that_is_something_else(snapshot: Snapshot, text: str) -> None:
    (snapshot.path / MANIFEST).write_text(text)
    assert refused(snapshot) == "manifest.json is damaged"


def test_a_manifest_of_another_version(snapshot: Snapshot) -> None:
    file = snapshot.path / MANIFEST
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    assert refused(snapshot) == "its format is 2, and not 1"


def test_a_pickle_with_a_flipped_bit(snapshot: Snapshot) -> None:
    """Nothing of it is run."""
    file = snapshot.path / OBJECTS
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert refused(snapshot) == "objects.pkl is damaged: its SHA-256 is another one"


def compiled(snapshot: Snapshot) -> Path:
    """Give a snapshot something that a compiler has made."""
    folder = snapshot.path / "compiled" / "inductor"
    folder.mkdir(0o755, parents=True)
    file = folder / "kernel.so"
    file.write_bytes(b"code")
    for path in (file, folder, folder.parent):
        path.chmod(0o755)
    return file


@pytest.fixture
def _no_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("_no_caches")
def test_what_compilers_have_made_is_found(snapshot: Snapshot) -> None:
    compiled(snapshot)
    assert snapshot.read()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(snapshot.path / "compiled" / "inductor")
    assert os.environ["TRITON_CACHE_DIR"] == str(snapshot.path / "compiled" / "triton")


def test_a_cache_of_the_users_own_stays(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(snapshot)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/own")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/own")
    assert snapshot.read()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/own"


@pytest.mark.usefixtures("_no_caches")
def test_a_cache_that_may_not_be_written_to_is_copied(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compilers write to their cache: an image has it from root."""
    compiled(snapshot)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert snapshot.read()
    copy = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert (copy / "kernel.so").read_bytes() == b"code"
    assert snapshot.path not in copy.parents
    shutil.rmtree(copy.parents[1])


@pytest.mark.usefixtures("_no_caches")
def test_a_folder_with_a_space_in_its_name_has_another_one_for_compilers(tmp_path: Path) -> None:
    """torch gives its name to the C++ compiler as it is."""
    (tmp_path / "my project").mkdir()
    snapshot = Snapshot(tmp_path / "my project", {"model": [1, 2]})
    compiled(snapshot)
    assert snapshot.read()
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert " " not in str(cache)
    (cache / "other.so").write_bytes(b"more")
    assert (snapshot.path / "compiled" / "inductor" / "other.so").read_bytes() == b"more"
    shutil.rmtree(cache.parents[1])
    assert (snapshot.path / "compiled" / "inductor" / "kernel.so").exists()


@pytest.mark.usefixtures("_no_caches")
@pytest.mark.parametrize(("umask", "copied"), [(0o022, False), (0o002, True), (0o020, True)])
def test_a_cache_is_copied_where_others_could_change_what_is_added(
    snapshot: Snapshot, umask: int, copied: bool
) -> None:
    """A start after this one would refuse what compilers have added here."""
    compiled(snapshot)
    before = os.umask(umask)
    try:
        assert snapshot.read()
        assert os.umask(umask) == umask  # it is as it was
    finally:
        os.umask(before)
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert (cache / "kernel.so").read_bytes() == b"code"
    assert (snapshot.path not in cache.parents) == copied
    if copied:
        shutil.rmtree(cache.parents[1])


def test_compiled_code_that_others_may_write_to(snapshot: Snapshot) -> None:
    file = compiled(snapshot)
    file.chmod(0o775)
    assert refused(snapshot).startswith(f"others may write to {file}")
    file.chmod(0o755)
    file.parent.chmod(0o775)
    assert refused(snapshot).startswith(f"others may write to {file.parent}")


def test_compiled_code_that_is_a_link(snapshot: Snapshot) -> None:
    file = compiled(snapshot)
    (file.parent / "other.so").symlink_to(file)
    assert refused(snapshot) == f"{file.parent / 'other.so'} is a link"


def test_a_folder_of_compiled_code_that_is_a_link(snapshot: Snapshot) -> None:
    folder = compiled(snapshot).parent
    elsewhere = folder.rename(snapshot.folder / "elsewhere")
    folder.symlink_to(elsewhere)
    assert refused(snapshot) == f"{folder} is a link"
