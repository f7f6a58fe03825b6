"""Which app a command is about."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reload import imports_of

from potassium import UsageError
from potassium.project.target import Target

APP = "from potassium import Potassium\n\napp = Potassium('one')\n"


@pytest.fixture(autouse=True)
def clean_imports(tmp_path: Path) -> Iterator[None]:
    with imports_of(tmp_path):
        yield


def written(folder: Path, name: str, text: str = APP) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [None, "first.py", "first.py:app", "first", "first:app", "."])
def test_an_app_is_named_by_file_module_or_folder(tmp_path: Path, text: str | None) -> None:
    written(tmp_path, "app.py" if text in (None, ".") else "first.py")

    assert Target.of(text, tmp_path).load().name == "one"


def test_a_file_of_a_package_is_imported_as_its_module(tmp_path: Path) -> None:
    written(tmp_path, "package/__init__.py", "")
    written(tmp_path, "package/inner/__init__.py", "")
    written(tmp_path, "package/name.py", "NAME = 'relative'")
    path = written(
        tmp_path,
        "package/inner/served.py",
        "from potassium import Potassium\nfrom ..name import NAME\nmodel = Potassium(NAME)\n",
    )

    target = Target.of(str(path), Path.cwd())

    assert (target.folder, target.module) == (tmp_path, "package.inner.served")
    assert target.load().name == "relative"


@pytest.mark.parametrize(
    ("name", "text", "target", "message"),
    [
        ("other.py", APP, None, r"There is no app in .* Did you mean other.py\?"),
        ("other.py", APP, "ap.py", r"There is no file .*ap.py. Did you mean other.py\?"),
        ("other.py", APP, "nothere", r"There is no module nothere in .* Did you mean other.py\?"),
        ("other.py", APP, "other.py:1", "write FILE:NAME or MODULE:NAME"),
        ("other.py", APP, "other.py:api", "has no api. It has app."),
        ("other.py", APP + "text = ''", "other.py:text", "is a str, not a Potassium app"),
        ("other.py", APP.replace("app =", "a = b ="), "other.py:c", "It has a, b."),
        ("other.py", "", "other.py", 'has no app. Write app = Potassium\\("name"\\)'),
        ("my-app.py", APP, "my-app.py", "no module is called my-app. Rename it"),
        (
            "other.py",
            APP.replace("app =", "a =") + "b = Potassium()",
            "other",
            "several apps: a, b. Name one, such as other.py:a",
        ),
    ],
)
def test_what_is_not_found_is_explained(
    tmp_path: Path, name: str, text: str, target: str | None, message: str
) -> None:
    written(tmp_path, name, text)

    with pytest.raises(UsageError, match=message):
        Target.of(target, tmp_path).load()


def test_one_app_with_two_names_is_one(tmp_path: Path) -> None:
    written(tmp_path, "other.py", APP.replace("app =", "a = b ="))

    assert Target.of("other", tmp_path).load().name == "one"


def test_a_missing_import_of_the_app_is_its_own_error(tmp_path: Path) -> None:
    written(tmp_path, "other.py", "import missing_module")

    with pytest.raises(ModuleNotFoundError, match="missing_module"):
        Target.of("other", tmp_path).load()


UNGUARDED = """
from pathlib import Path

with Path("imports").open("a") as log:
    log.write("once\\n")

import uvicorn
from potassium import Potassium

app = Potassium("one", workers=2)


@app.handler
def handler(cache, json_in):
    return {{}}


{serve}
"""

LOAD = """
from pathlib import Path
from potassium.project.target import Target

Target(Path.cwd(), "served", "app").load()
"""


@pytest.mark.parametrize(
    ("serve", "status"),
    [
        ("app.serve(port=0)", 1),
        ("uvicorn.run(app, port=0)", 3),
        ("uvicorn.run('served:app', port=0)", 3),
    ],
)
def test_a_process_that_imports_an_app_does_not_serve_it_again(
    tmp_path: Path, serve: str, status: int
) -> None:
    """A file without a guard ends that process at once, and the message names the guard."""
    written(tmp_path, "served.py", UNGUARDED.format(serve=serve))

    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == status, done.stderr
    assert (
        "UsageError: served began to serve while it was imported, by a command or as a worker. "
        "Write it so that it serves only for python served.py:\n\n"
        '    if __name__ == "__main__":\n        app.serve()' in done.stderr
    )
    assert (tmp_path / "imports").read_text() == "once\n"
