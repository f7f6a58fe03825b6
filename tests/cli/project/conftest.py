"""Commands, typed in a folder of their own."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from potassium.cli import main


@dataclass
class Typed:
    """What became of a command."""

    status: int
    out: str
    err: str


Type = Callable[..., Typed]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory; what is imported from it is forgotten again."""
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """Let what was imported from a folder be imported anew."""
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]


@pytest.fixture
def type_(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Type:
    """Return a function that types ``potassium ARGUMENTS`` in the folder."""

    def typed(*arguments: str) -> Typed:
        monkeypatch.setattr(sys, "argv", ["potassium", *arguments])
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change within a second
        forget(folder)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Typed(end.value.code, captured.out, captured.err)

    return typed
