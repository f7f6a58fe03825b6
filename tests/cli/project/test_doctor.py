"""``potassium doctor``."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from cli.project.conftest import Type

from potassium.doctor import examination
from potassium.doctor.machine import Machine
from potassium.project.finding import Finding, note, ok, problem

APP = """\
from potassium import Jobs, Potassium

app = Potassium("shop", jobs=Jobs(path="kept/jobs.db"))

@app.init
def init():
    raise RuntimeError("the model was loaded")

@app.handler
def echo(cache, item): return item

app.serve()
"""

FIX = "type this " * 12


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is found, and nothing else."""
    found: list[Finding] = []

    def probe(_: Machine) -> Iterable[Finding]:
        return found

    monkeypatch.setattr(examination, "PROBES", ())
    monkeypatch.setattr(
        "potassium.cli.doctor.examine", lambda one: examination.examine(one, [probe])
    )
    return found


def test_each_finding_says_why_and_what_to_type(type_: Type, findings: list[Finding]) -> None:
    findings += [ok("GPU", "one"), note("a port", "it is taken", FIX), problem("x", "bad")]

    typed = type_("doctor")

    assert typed.out.splitlines() == [
        "ok      GPU     one",
        "note    a port  it is taken",
        f"                -> {'type this ' * 8}".rstrip(),
        f"                   {'type this ' * 4}".rstrip(),
        "problem x       bad",
        "",
        "1 problem, 1 note.",
    ]


def test_only_problems_make_the_status_1(type_: Type, findings: list[Finding]) -> None:
    findings.append(note("x", "y"))
    assert type_("doctor").status == 0
    findings.append(problem("x", "z"))
    assert type_("doctor").status == 1
    assert type_("doctor", "--json").status == 1


def test_json_is_for_programs(type_: Type, findings: list[Finding]) -> None:
    findings.append(problem("x", "y", "z"))

    assert json.loads(type_("doctor", "--json").out) == {
        "findings": [{"level": "problem", "about": "x", "why": "y", "fix": "z"}],
        "ok": False,
    }


def test_with_an_app_its_folder_of_jobs_is_looked_at(type_: Type, folder: Path) -> None:
    """Its model is not loaded, and nothing is served."""
    (folder / "app.py").write_text(APP)

    found = json.loads(type_("doctor", "app.py", "--json").out)["findings"]

    about_jobs = [one["why"] for one in found if one["about"] == "jobs"]
    assert len(about_jobs) == 1
    assert about_jobs[0].startswith(f"{folder}/kept/jobs.db ")
    assert not (folder / "kept").exists()


def test_with_an_app_its_database_of_jobs_is_asked(type_: Type, folder: Path) -> None:
    """In place of a folder. What is shown has no password."""
    url = "postgresql://shop:secret@127.0.0.1:9/models"
    (folder / "app.py").write_text(APP.replace('path="kept/jobs.db"', f'url="{url}"'))

    typed = type_("doctor", "app.py", "--json")

    ((level, why),) = [
        (one["level"], one["why"])
        for one in json.loads(typed.out)["findings"]
        if one["about"] == "jobs"
    ]
    assert level == "problem"
    assert "postgresql://shop@127.0.0.1:9/models cannot be used: " in why
    assert "refused" in why
    assert "secret" not in typed.out + typed.err


def test_without_one_the_jobs_of_this_folder_are(
    type_: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines: list[Machine] = []

    def examine(one: Machine) -> Iterable[Finding]:
        machines.append(one)
        return ()

    monkeypatch.setattr("potassium.cli.doctor.examine", examine)

    type_("doctor")
    (folder / ".potassium").mkdir()
    type_("doctor")

    assert [one.jobs for one in machines] == [None, Path(".potassium/jobs.db")]


def test_an_app_that_cannot_be_imported_is_a_problem(
    type_: Type, folder: Path, findings: list[Finding]
) -> None:
    (folder / "app.py").write_text("import nothing_like_this")

    typed = type_("doctor", "app.py")

    assert typed.status == 1
    assert "No module named 'nothing_like_this'" in typed.out
    assert "-> potassium check app.py" in typed.out


def test_an_app_that_is_not_there_is_a_wrong_command(type_: Type) -> None:
    assert type_("doctor", "nothere.py").status == 2
