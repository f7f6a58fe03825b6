"""Which files a build notes."""

import mmap
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from potassium.building.files import FilesRead

# An audit hook cannot be removed again: it is heard in a process of its own.
SCRIPT = """
import os, sys
from pathlib import Path
from potassium.building.files import FilesRead
files = FilesRead()
files.install()
{code}
files.stop()
open("too_late.bin", "a+").close()
open("too_late.bin").close()
print(*(path.name for path in files.paths([])))
"""

IN_A_THREAD = """
import threading
thread = threading.Thread(target=open, args=("weights.bin",))
thread.start()
thread.join()
"""


def noted(code: str, folder: Path) -> list[str]:
    """Return the names of files that are noted while ``code`` runs."""
    command = [sys.executable, "-c", SCRIPT.format(code=code)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file of weights."""
    (tmp_path / "weights.bin").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize(
    "code",
    [
        "open('weights.bin').close()",
        "Path('weights.bin').read_bytes()",
        "os.close(os.open(b'weights.bin', os.O_RDONLY))",
        IN_A_THREAD,
    ],
)
def test_a_file_that_is_read_is_noted(folder: Path, code: str) -> None:
    assert noted(code, folder) == ["weights.bin"]


def test_a_file_that_was_looked_for_is_noted(folder: Path) -> None:
    """It would be read if it were there."""
    code = "import contextlib\nwith contextlib.suppress(OSError): open('adapter.bin')"
    assert noted(code, folder) == ["adapter.bin"]


def test_a_file_that_is_written_is_not(folder: Path) -> None:
    assert noted("open('log.txt', 'w').close()", folder) == []


def test_python_and_the_system_are_not_noted(folder: Path) -> None:
    """Their versions count."""
    code = "import wave; open('/proc/self/stat').read(); open('/etc/hostname').read()"
    assert noted(code, folder) == []


def test_what_is_mapped_is_noted(folder: Path) -> None:
    """Libraries that are not written in Python open files, and nobody hears of it."""
    with (folder / "weights.bin").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with mapped:
        assert folder / "weights.bin" in FilesRead().paths([])
    assert folder / "weights.bin" not in FilesRead().paths([])


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "model-q4.gguf"])
def test_what_lies_beside_it_and_may_have_been_read_is_noted(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    (folder / "readme.md").write_bytes(b"")
    assert noted("open('weights.bin').close()", folder) == sorted([name, "weights.bin"])
    found = FilesRead().paths([folder])  # and what this process has mapped
    assert [path for path in found if path.parent == folder] == [folder / name]


def test_what_is_installed_is_not_noted() -> None:
    files = FilesRead()
    installed = sysconfig.get_paths()["purelib"]
    paths = [f"{installed}/x/data.json", "/data/dist-packages/x.json", os.devnull]
    for path in paths:
        files._hear("open", (path, None, os.O_RDONLY))
    assert not {*map(Path, paths)} & {*files.paths([])}
