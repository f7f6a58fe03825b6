"""Writes a new project: an app, its test, and what it takes to deploy it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from potassium.errors import UsageError

__all__ = ["TEMPLATES", "write_project"]

TEMPLATES = ("plain", "stream", "torch")

COMMON = "all"  # the folder of the files that all templates have
SUFFIX = ".txt"  # so that no tool takes a template for what it becomes

# A folder that has nothing but these is still empty.
NOT_COUNTED = frozenset(
    (".git", ".venv", "venv", ".idea", ".vscode", ".DS_Store", ".python-version")
)


def write_project(folder: Path, template: str, version: str) -> list[str]:
    """Write a project into ``folder``, which is made if it is missing, and return its files.

    No file is ever overwritten.

    Args:
        folder: where it goes.
        template: one of ``TEMPLATES``.
        version: that of Potassium, which the project requires at least.

    Raises:
        UsageError: the folder is not empty, or cannot be written.

    """
    _check_empty(folder)
    values = {"name": _name_of(folder), "version": version}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _texts(template, values).items():
            _write(folder / name, text)
            written.append(name)
        # Last, because it says what it finds in the folder.
        for name, text in _images(folder).items():
            _write(folder / name, text)
            written.append(name)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.") from error
    return written


def _check_empty(folder: Path) -> None:
    """Raise if ``folder`` is something that a project would be mixed up with."""
    try:
        found = sorted(one.name for one in folder.iterdir() if one.name not in NOT_COUNTED)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{folder} cannot be used: {error.strerror}.") from error
    if found:
        shown = ", ".join(found[:3]) + (", ..." if found[3:] else "")
        raise UsageError(
            f"{folder.resolve()} is not empty (it has {shown}), and nothing is overwritten. Name "
            "a new folder: potassium new NAME"
        )


def _name_of(folder: Path) -> str:
    """Return the app's name: that of the folder, without what would end a string of Python."""
    return re.sub(r"[^\w. -]+", "-", folder.resolve().name) or "server"


def _texts(template: str, values: Mapping[str, str]) -> dict[str, str]:
    root = files("potassium.project") / "templates"
    found = [*_files(root / template), *_files(root / COMMON)]
    texts = {one.name.removesuffix(SUFFIX): one.read_text("utf-8") for one in found}
    return {name: _filled(text, values) for name, text in texts.items()}


def _files(folder: Traversable) -> Iterable[Traversable]:
    return sorted(folder.iterdir(), key=lambda one: one.name)


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Return a template with its values: ``<<name>>`` is what no language means anything by."""
    for name, value in values.items():
        text = text.replace(f"<<{name}>>", value)
    return text


def _images(folder: Path) -> dict[str, str]:
    # It imports the server, which the help of the command need not wait for.
    from potassium.deployment import (  # noqa: PLC0415
        image_facts,
        render_dockerfile,
        render_dockerignore,
    )

    facts = image_facts(str(folder / "app.py"), folder=folder)
    dockerfile = render_dockerfile(replace(facts, target="app.py"))
    return {"Dockerfile": dockerfile, ".dockerignore": render_dockerignore()}


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
