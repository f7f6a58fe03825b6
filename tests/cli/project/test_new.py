"""``potassium new``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli.project.conftest import Type

from potassium.project.scaffold import TEMPLATES

WRITTEN = {
    ".dockerignore",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "app.py",
    "requirements.txt",
    "test_app.py",
}


def names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def test_it_says_what_it_wrote_and_what_to_type_next(type_: Type, folder: Path) -> None:
    typed = type_("new", "my-model")

    assert typed.status == 0
    assert names(folder / "my-model") == WRITTEN
    assert all(f"  my-model/{name}\n" in typed.out for name in WRITTEN)
    after = typed.out.partition("Next:\n")[2].splitlines()
    assert [line.strip() for line in after[:4]] == [
        "cd my-model",
        "pip install -r requirements.txt pytest",
        "pytest",
        "python app.py",
    ]


def test_the_app_has_the_name_of_its_folder(type_: Type, folder: Path) -> None:
    type_("new", 'deep/er/my "model"')

    assert 'Potassium("my -model-")' in (folder / 'deep/er/my "model"' / "app.py").read_text()
    assert type_("check", 'deep/er/my "model"').status == 0


def test_nothing_of_a_template_is_left_open(type_: Type, folder: Path) -> None:
    for template in TEMPLATES:
        type_("new", template, "--template", template)
        assert not [one for one in (folder / template).iterdir() if "<<" in one.read_text()]


def test_a_dot_is_the_folder_that_one_is_in(type_: Type, folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".venv").mkdir()

    typed = type_("new", ".")

    assert typed.status == 0
    assert names(folder) == WRITTEN | {".git", ".venv"}
    assert "cd " not in typed.out


def test_a_folder_with_something_in_it_is_refused(type_: Type, folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "app.py").write_text("# mine")

    typed = type_("new", "mine")

    assert typed.status == 2
    assert "is not empty (it has app.py)" in typed.err
    assert "potassium new NAME" in typed.err
    assert names(folder / "mine") == {"app.py"}


def test_what_is_no_folder_is_refused(type_: Type, folder: Path) -> None:
    (folder / "file").write_text("")

    typed = type_("new", "file")

    assert (typed.status, typed.err) == (2, "Error: file cannot be used: Not a directory.\n")


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    type_: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("potassium.project.scaffold._check_empty", lambda _: None)
    (folder / "README.md").write_text("mine")

    typed = type_("new", ".")

    assert typed.status == 2
    assert "File exists" in typed.err
    assert (folder / "README.md").read_text() == "mine"


def test_there_is_no_such_template(type_: Type) -> None:
    typed = type_("new", "x", "--template", "y")

    assert typed.status == 2
    assert "'plain', 'stream', 'torch'" in typed.err


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_tests_of_a_new_project_pass_at_once(type_: Type, folder: Path, template: str) -> None:
    """With pytest alone, without any configuration or plugin."""
    type_("new", "project", "--template", template)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "--rootdir=.", "-c", os.devnull],
        cwd=folder / "project",
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


@pytest.mark.parametrize("template", TEMPLATES)
def test_nothing_is_wrong_with_a_new_project(type_: Type, folder: Path, template: str) -> None:
    type_("new", "project", "--template", template)

    assert "No problems.\n" in type_("check", "project").out


def test_its_dockerfile_is_the_one_that_the_command_prints(type_: Type, folder: Path) -> None:
    type_("new", ".")
    text = (folder / "Dockerfile").read_text()

    # The one that was written has a folder for background jobs, should there be any later.
    printed = type_("dockerfile").out.replace("10001 /cache", "10001 /app/.potassium /cache")
    assert text == printed.replace('VOLUME ["', 'VOLUME ["/app/.potassium", "')
    assert "COPY requirements.txt" in text
    assert 'CMD ["python", "app.py"]' in text
