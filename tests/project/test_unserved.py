"""Importing an app to look at it."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from potassium import Potassium
from potassium.project.target import Target
from potassium.project.unserved import Unserved, import_unserved

APP = "from potassium import Potassium\n\napp = Potassium('one')\n"


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., Unserved]:
    def look(rest: str, **options: object) -> Unserved:
        (tmp_path / "looked_at.py").write_text(APP + rest)
        return import_unserved(Target.of("looked_at.py", tmp_path), **options)  # type: ignore[arg-type]

    return look


def test_nothing_is_served(look: Callable[..., Unserved]) -> None:
    found = look("import uvicorn\napp.serve(port=1)\nuvicorn.run(app)\nlast = 1\n")

    assert found.served_at == ("looked_at.py:5", "looked_at.py:6")
    assert sys.modules["looked_at"].last == 1


def test_afterwards_apps_can_be_served_again(look: Callable[..., Unserved]) -> None:
    before = (Potassium.serve, uvicorn.run, uvicorn.Server.run)

    with pytest.raises(ZeroDivisionError):
        look("app.serve()\n1 / 0\n")

    assert (Potassium.serve, uvicorn.run, uvicorn.Server.run) == before


def test_stdout_belongs_to_the_command(
    look: Callable[..., Unserved], capsys: pytest.CaptureFixture[str]
) -> None:
    look("print('of the app')\n")

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "of the app\n")


def test_arguments_belong_to_the_command(
    look: Callable[..., Unserved], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["potassium", "check"])

    look("import sys\nseen = sys.argv\n")

    assert sys.modules["looked_at"].seen == ["potassium"]
    assert sys.argv == ["potassium", "check"]


def test_time_is_counted_without_libraries(
    look: Callable[..., Unserved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([10.0, 15.0])
    times = {"torch": 1.0}
    monkeypatch.setattr("potassium.project.unserved.IMPORTS.seconds", times)
    (tmp_path / "slow_library.py").write_text("")
    rest = """
from potassium.project.unserved import IMPORTS
IMPORTS.seconds.update(torch=3.0, keras=0.5)
"""

    found = look(rest, clock=lambda: next(now))

    assert found.libraries == {"torch": 2.0, "keras": 0.5}
    assert found.seconds == 2.5


def test_an_import_that_takes_long_says_where_it_is(look: Callable[..., Unserved]) -> None:
    """The line is one of the app's own, also if that has called something else."""
    told, heard = [], threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        if text.endswith("at looked_at.py:5"):  # at the start of a file, there are no lines yet
            heard.set()

    sys.modules["looked_at_heard"] = heard  # type: ignore[assignment] # what the module waits for
    look("import sys\nsys.modules['looked_at_heard'].wait(10)\n", tell=tell, patience=0.01)

    assert heard.is_set()
    assert all(text.startswith("Importing looked_at, 0 s so far") for text in told[:10])
    assert not [one for one in threading.enumerate() if one.name == "potassium-import-watch"]
