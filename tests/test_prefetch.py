"""Files that the system is asked to read before they are needed."""

import os
from pathlib import Path

import pytest

from potassium.prefetch import prefetch


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the path of each file that the system is asked to read."""
    paths: list[str] = []

    def advise(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert (offset, length, advice) == (0, 0, os.POSIX_FADV_WILLNEED)
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    return paths


def test_every_file_is_asked_for(advised: list[str], tmp_path: Path) -> None:
    """In order, as a whole, and their descriptors are closed again."""
    files = [tmp_path / "one.pyc", tmp_path / "two.so"]
    for file in files:
        file.write_bytes(b"content")
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    assert prefetch(map(str, files)) == 2
    assert advised == [str(file) for file in files]
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_what_cannot_be_read_ahead_is_left_out(tmp_path: Path) -> None:
    """A file that is gone, one without a cache, and a pipe, which does not block."""
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_bytes(b"content")
    assert prefetch([str(tmp_path / "gone"), str(pipe), str(file)]) == 1


def test_nothing_happens_where_the_system_cannot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """macOS has no such call."""
    monkeypatch.delattr(os, "posix_fadvise")
    file = tmp_path / "file"
    file.write_bytes(b"content")
    assert prefetch([str(file)]) == 0
