"""Nothing that ``SqliteStore`` does goes through all jobs."""

import asyncio
import re
import time

import pytest
from support.jobs import NOW, attempt, delivery, new_job

from potassium.jobs import rows, sqlite_deliveries, statements
from potassium.jobs.model import Status
from potassium.jobs.sqlite import SqliteStore

STATEMENTS = {
    **{name: getattr(statements, name) for name in statements.__all__},
    **{name: getattr(sqlite_deliveries, name) for name in ("DUE", "NEXT_DUE", "TRIED", "STOP")},
    "ATTEMPTS": sqlite_deliveries.ATTEMPTS,
    "ADD_JOB": rows.ADD_JOB,
    "SUBMITTED": "SELECT max(seq) FROM jobs",
}
SORTED = {"NEXT_IN_LINE", "ATTEMPTS"}  # after their limit, or few by themselves


async def plan_of(store: SqliteStore, statement: str) -> list[str]:
    assert store._commits is not None
    names = re.findall(r":(\w+)", statement)
    values = dict.fromkeys(names, 1) | {"handlers": "[]", "hosts": "[]"}
    parameters = values if names else [1] * statement.count("?")
    plan = await store._commits._connection.execute_fetchall(
        f"EXPLAIN QUERY PLAN {statement}", parameters
    )
    return [row["detail"] for row in plan]


@pytest.mark.parametrize("name", STATEMENTS)
async def test_each_statement_goes_by_an_index(sqlite: SqliteStore, name: str) -> None:
    """No table is scanned, and nothing is sorted that is not few."""
    plan = await plan_of(sqlite, STATEMENTS[name])
    scans = [step for step in plan if step.startswith("SCAN") and name != "FIND"]
    allowed = r"SCAN (named|first|left_behind|taken|json_each|CONSTANT ROW|\(subquery-\d+\))"
    by_index = r"SCAN deliveries USING (COVERING )?INDEX deliveries_by_due"
    assert [step for step in scans if not re.match(f"{allowed}|{by_index}", step)] == []
    if name not in SORTED:
        assert [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step] == []
