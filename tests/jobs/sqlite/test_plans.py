"""``SqliteStore`` never scans all jobs."""

import re

import pytest

from potassium.jobs.sqlite import deliveries, rows, statements
from potassium.jobs.sqlite.store import SqliteStore

STATEMENTS = {
    **{name: getattr(statements, name) for name in statements.__all__},
    **{name: getattr(deliveries, name) for name in ("DUE", "NEXT_DUE", "TRIED", "STOP")},
    "ATTEMPTS": deliveries.ATTEMPTS,
    "ADD_JOB": rows.ADD_JOB,
    "SUBMITTED": "SELECT max(seq) FROM jobs",
}
# The index that a statement must use, where another one would seem to do.
INDEXES = {
    "BEFORE": "COVERING INDEX jobs_in_line (handler=? AND is_due=? AND rank<?)",
    "NEXT_IN_LINE": "COVERING INDEX jobs_in_line (handler=? AND is_due=?)",
    "NEXT_SUSPECT": "COVERING INDEX jobs_in_line (handler=? AND is_due=?)",
    "NEXT_JOB": "COVERING INDEX jobs_by_due (handler=? AND is_due=?)",
    "NOW_DUE": "COVERING INDEX jobs_by_due (handler=? AND is_due=? AND due_at<?)",
    "OVERDUE": "INDEX jobs_by_expiry (expires_at<?)",
    "DUE": "INDEX deliveries_by_due (due_at<?)",
}
SORTED = {
    "NEXT_IN_LINE": 2,
    "NEXT_SUSPECT": 1,
    "ATTEMPTS": 1,
}  # sorts of few rows: limited, or few by nature


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
    """No table is scanned, and only a few rows are ever sorted."""
    plan = await plan_of(sqlite, STATEMENTS[name])
    few = ("SCAN named", "SCAN json_each", "SCAN left_behind")
    assert [step for step in plan if step.startswith("SCAN") and not step.startswith(few)] == []
    assert sum("ORDER BY" in step for step in plan) == SORTED.get(name, 0)
    assert [step for step in plan if INDEXES.get(name, "") in step] != []
