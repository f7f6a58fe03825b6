"""What is found out of an app, to put it into an image."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from potassium import Jobs, Limits, Potassium, UsageError
from potassium.deployment import image_facts, stop_seconds
from potassium.serving.runtime import STOP_TIME

SERVES = "from model import app\n\nif __name__ == '__main__':\n    app.serve({})\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(SERVES.format(""))
    return tmp_path


def facts(folder: Path, app: Potassium | None = None, **options: Any) -> Any:
    return image_facts(str(folder / "app.py"), app, **options)


def test_a_file_that_serves_is_run_by_python(folder: Path) -> None:
    assert facts(folder).command == ("python", "app.py")


def test_a_file_that_only_has_an_app_is_run_by_the_command(folder: Path) -> None:
    (folder / "app.py").write_text("from potassium import Potassium\napp = Potassium()\n")
    assert facts(folder).command == ("potassium", "serve", "app.py")


@pytest.mark.parametrize("target", ["app:app", "app", "server.app:model"])
def test_a_module_is_run_by_the_command(folder: Path, target: str) -> None:
    assert image_facts(target, folder=folder).command == ("potassium", "serve", target)


def test_a_file_with_the_name_of_an_app_is_run_by_the_command(folder: Path) -> None:
    """``python app.py`` may serve another one of its apps."""
    found = image_facts(f"{folder / 'app.py'}:model")
    assert found.command == ("potassium", "serve", "app.py:model")
    assert found.requirements is None


def test_a_file_below_the_folder_keeps_its_path(folder: Path) -> None:
    (folder / "server").mkdir()
    (folder / "server" / "main.py").write_text(SERVES.format(""))
    found = image_facts(str(folder / "server" / "main.py"), folder=folder)
    assert found.command == ("python", "server/main.py")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], None),
        (["requirements.txt"], "requirements.txt"),
        (["pyproject.toml"], "pyproject.toml"),
        (["pyproject.toml", "requirements.txt"], "requirements.txt"),
        (["pyproject.toml", "requirements.txt", "uv.lock"], "uv.lock"),
    ],
)
def test_the_list_of_requirements_is_the_one_that_says_most(
    folder: Path, files: list[str], expected: str | None
) -> None:
    """A lock rather than a list, and a list rather than a project."""
    for name in files:
        (folder / name).touch()
    assert facts(folder).requirements == expected


def test_the_model_is_downloaded_by_a_script_beside_the_app(folder: Path) -> None:
    """It may have requirements of its own."""
    assert facts(folder).download is None
    (folder / "requirements-download.txt").touch()
    assert facts(folder).download_requirements is None
    (folder / "download.py").touch()
    assert facts(folder).download == "download.py"
    assert facts(folder).download_requirements == "requirements-download.txt"


@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        ("", 8000),
        ("port=9000", 9000),
        ("'0.0.0.0', 9000", 9000),
        ("port=0", 8000),
        ("port=int('9000')", 8000),
        ("host='0.0.0.0'", 8000),
    ],
)
def test_the_port_is_the_one_in_the_file(folder: Path, arguments: str, port: int) -> None:
    """If it is written there as a number."""
    (folder / "app.py").write_text(SERVES.format(arguments))
    assert facts(folder).port == port
    assert facts(folder, port=7000).port == 7000


def test_the_version_of_python_is_the_one_that_the_project_pins(folder: Path) -> None:
    (folder / ".python-version").write_text("3.13.2\n")
    assert facts(folder).python == "3.13"
    assert facts(folder, python="3.12").python == "3.12"


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (Jobs(), "/app/.potassium"),
        (Jobs(path="data/jobs/all.db"), "/app/data/jobs"),
        (Jobs(path="../data/jobs.db"), "/data"),
        (Jobs(path=Path("/data/jobs.db")), "/data"),
        (Jobs(path=None), None),
        (None, None),
    ],
)
def test_jobs_are_in_a_folder_that_can_be_written_to(
    folder: Path, jobs: Jobs | None, expected: str | None
) -> None:
    found = facts(folder, Potassium("server", jobs=jobs))
    assert found.jobs == (expected and PurePosixPath(expected))
    assert (found.jobs in found.writable) == (expected is not None)


def test_jobs_beside_the_code_are_refused(folder: Path) -> None:
    """A volume there would hide the code."""
    with pytest.raises(UsageError, match=r'Jobs\(path="\.potassium/jobs\.db"\)'):
        facts(folder, Potassium("server", jobs=Jobs(path="jobs.db")))


@pytest.mark.parametrize("grace", [1, 30, 600])
def test_the_time_to_stop_has_room_for_all_that_is_done_at_the_end(
    folder: Path, grace: float
) -> None:
    """The drain, and posting webhooks."""
    limits = Limits(grace_period=grace)
    assert facts(folder, Potassium("server", limits=limits)).stop_seconds == stop_seconds(limits)
    assert grace + STOP_TIME < stop_seconds(limits) < grace + STOP_TIME + 20


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("other.py", "", "other.py cannot be read"), ("app.py", "def (", "app.py is not Python")],
)
def test_a_file_that_cannot_be_is_named(folder: Path, name: str, text: str, message: str) -> None:
    if text:
        (folder / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        image_facts(str(folder / name))


def test_a_file_outside_of_the_folder_is_named(folder: Path) -> None:
    (folder / "inner").mkdir()
    with pytest.raises(UsageError, match="is not in the folder"):
        image_facts(str(folder / "app.py"), folder=folder / "inner")


def test_an_accelerator_that_there_is_not_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="accelerator='tpu'"):
        facts(folder, accelerator="tpu")
