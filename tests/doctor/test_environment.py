"""Environment variables."""

import re
from pathlib import Path

import pytest
from doctor.conftest import Build, seen

import potassium
from potassium.config import VARIABLES
from potassium.doctor import environment


def test_every_variable_of_ours_is_known() -> None:
    """One that the code reads, and that is not known, would be taken for a typing error."""
    files = Path(potassium.__file__).parent.rglob("*.py")
    read = {name for one in files for name in re.findall(r"\bPOTASSIUM_[A-Z_]+\b", one.read_text())}
    options = Path(__file__).parents[2] / "docs" / "options.md"
    shown = set(re.findall(r"^\| `(POTASSIUM_[A-Z_]+)`", options.read_text(), re.MULTILINE))

    assert read == VARIABLES == shown


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("POTASSIUM_PROT", "Write POTASSIUM_PORT."),
        ("POTASIUM_HOST", "Write POTASSIUM_HOST."),
        ("potassium_port", "Write POTASSIUM_PORT."),
        ("POTASSIUM_WORKERS_COUNT", "Write POTASSIUM_WORKERS."),
        ("POTASSIUM_THREADS", "There are POTASSIUM_API_KEY, "),
    ],
)
def test_a_typing_error_in_a_name_is_a_problem(machine: Build, name: str, fix: str) -> None:
    (found,) = environment.names(machine(environ={name: "1"}))

    assert (found.level, found.why) == ("problem", f"{name} means nothing to Potassium.")
    assert (found.fix or "").startswith(fix)


def test_names_of_others_are_none(machine: Build) -> None:
    environ = {"POTASSIUM_PORT": "1", "HOST": "x", "PORT": "1", "POTASSIUM_OLD": "", "PATH": "/"}

    assert seen(environment.names(machine(environ=environ))) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POTASSIUM_PORT", "http"),
        ("POTASSIUM_LOG", "xml"),
        ("POTASSIUM_DOCS", "yes"),
        ("POTASSIUM_METRICS", "on"),
        ("POTASSIUM_TRACES", "2"),
        ("POTASSIUM_WORKERS", "many"),
    ],
)
def test_a_value_that_is_none_is_a_problem(
    machine: Build, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert seen(environment.values(machine())) == []
    monkeypatch.setenv(name, value)

    ((level, why),) = seen(environment.values(machine()))

    assert level == "problem"
    assert why.startswith(f"{name}={value!r} must be")


@pytest.mark.parametrize(
    ("name", "value", "is_found"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", True),
        ("CUDA_LAUNCH_BLOCKING", "0", False),
        ("PYTHONASYNCIODEBUG", "1", True),
        ("PYTHONMALLOC", "debug", True),
        ("PYTHONMALLOC", "malloc", False),
        ("WEB_CONCURRENCY", "4", True),
        ("WEB_CONCURRENCY", "1", False),
    ],
)
def test_what_is_left_over_from_debugging_is_worth_a_word(
    machine: Build, name: str, value: str, is_found: bool
) -> None:
    found = list(environment.debugging(machine(environ={name: value})))

    assert [(one.level, one.fix) for one in found] == [("note", f"unset {name}")] * is_found
