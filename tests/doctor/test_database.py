"""Whether the database of background jobs can be used."""

from typing import Any

import pytest
from doctor.conftest import Build, seen
from support import postgres

from potassium import Jobs
from potassium.doctor import database
from potassium.doctor.machine import ProgramError, this_machine

JOBS = Jobs(url="postgresql://app:secret@db.test:5433/models?sslmode=require&password=hidden")
GOOD = [160004, "16.4", False, "models", "app", True]
PLACE = "postgresql://app@db.test:5433/models?sslmode=require"
PSYCOPG = {"psycopg": "3.3"}


@pytest.mark.parametrize(
    ("changed", "level", "why", "fix"),
    [
        ({}, "ok", f"{PLACE} is PostgreSQL 16.4", None),
        ({0: 130010, 1: "13.10"}, "problem", "is PostgreSQL 13.10; 14 is the oldest", "newer"),
        ({2: True}, "problem", "is a standby", "target_session_attrs=read-write"),
        (
            {5: False},
            "problem",
            f"app may not create tables at {PLACE}",
            'CREATE SCHEMA potassium AUTHORIZATION "app"',
        ),
    ],
)
def test_the_database_must_be_of_use(
    machine: Build, changed: dict[int, Any], level: str, why: str, fix: str | None
) -> None:
    """New enough, no standby, and one in which the user may create tables."""
    row = [changed.get(index, value) for index, value in enumerate(GOOD)]
    (found,) = database.jobs(machine(shared_jobs=JOBS, packages=PSYCOPG, answer=row))
    assert found.level == level
    assert why in found.why
    assert (fix or "") in (found.fix or "")


def test_a_database_that_does_not_answer_is_a_problem(machine: Build) -> None:
    """Nothing that is shown has the password."""
    one = machine(shared_jobs=JOBS, packages=PSYCOPG, answer=ProgramError("connection refused"))
    (found,) = database.jobs(one)
    assert found.level == "problem"
    assert found.why == f"{PLACE} cannot be used: connection refused."
    assert found.fix == f'psql "{PLACE}" -c "SELECT 1"'


def test_a_missing_driver_is_a_problem(machine: Build) -> None:
    (found,) = database.jobs(machine(shared_jobs=JOBS))
    assert found.fix == 'pip install "potassium[postgres]"'


@pytest.mark.parametrize("jobs", [None, Jobs(store=object())])
def test_an_app_without_a_database_is_not_asked(machine: Build, jobs: Jobs | None) -> None:
    assert seen(database.jobs(machine(shared_jobs=jobs))) == []


def test_a_real_database_is_asked() -> None:
    """Also one that is not there, within the time limit."""
    jobs = postgres.jobs()
    ((level, why),) = seen(database.jobs(this_machine(shared_jobs=jobs)))
    assert level == "ok"
    assert " is PostgreSQL 1" in why
    away = Jobs(url="postgresql://app:secret@127.0.0.1:9/models")
    ((level, why),) = seen(database.jobs(this_machine(shared_jobs=away)))
    assert level == "problem"
    assert "onnection refused" in why
    assert "secret" not in why
