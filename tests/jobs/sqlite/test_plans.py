"""``SqliteStore`` never scans all jobs."""

import re

import pytest

from potassium.jobs.sqlite import deliveries, lines, rows, statements
from potassium.jobs.sqlite.store import SqliteStore

STATEMENTS = {
    **{name: getattr(statements, name) for name in statements.__all__},
    **{name: getattr(deliveries, name) for name in ("TRIED", "STOP", "ATTEMPTS")},
    **{
        name: getattr(lines, name)
        for name in lines.__all__
        if name.isupper() and name not in ("TAKEN", "TEMPORARY")
    },
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
    "ENDED": "INDEX jobs_by_end (finished_at>? AND finished_at<?)",
    "ENDED_STATUS": "INDEX jobs_by_status (status=?)",
    "ENDED_OWN": "INDEX jobs_by_owner (owner=?)",
    "ENDED_OWN_STATUS": "INDEX jobs_by_owner_and_status (owner=? AND status=?)",
    "OLDEST": "INDEX jobs_by_status (status=?)",
    "OVERDUE": "INDEX jobs_by_expiry (expires_at<?)",
    "TURNS": "COVERING INDEX owners_by_turn (is_guarded=? AND turn_at<?)",
    "NEXT_TURNS": "COVERING INDEX owners_by_turn (is_guarded=?)",
    "NEXT": "INDEX deliveries_in_line (is_guarded=? AND host=? AND due_at>? AND due_at<?)",
    "FIRST": "INDEX deliveries_in_line (is_guarded=? AND host=? AND due_at>? AND due_at<?)",
    "HOSTS_MOVED": "INDEX deliveries_in_line (is_guarded=? AND host=? AND due_at>?)",
    "OWNERS_MOVED": "COVERING INDEX hosts_by_turn (is_guarded=? AND owner=?)",
}
SORTED = {
    "NEXT_IN_LINE": 2,
    "NEXT_SUSPECT": 1,
    "EVENTS": 1,
    "ATTEMPTS": 1,
    "FIRST": 1,
}  # sorts of few rows: limited, or few by nature


async def plan_of(store: SqliteStore, statement: str) -> list[str]:
    names = re.findall(r":(\w+)", statement)
    values = dict.fromkeys(names, 1) | {"handlers": "[]", "hosts": "[]"}
    parameters = values if names else [1] * statement.count("?")
    plan = await store._file.connection.execute_fetchall(
        f"EXPLAIN QUERY PLAN {statement}", parameters
    )
    return [row["detail"] for row in plan]


@pytest.mark.parametrize("name", STATEMENTS)
async def test_each_statement_goes_by_an_index(sqlite: SqliteStore, name: str) -> None:
    """No table is scanned, and only a few rows are ever sorted."""
    plan = await plan_of(sqlite, STATEMENTS[name])
    few = ("SCAN named", "SCAN json_each", "SCAN left_behind", "SCAN counts", "SCAN (subquery-")
    assert [step for step in plan if step.startswith("SCAN") and not step.startswith(few)] == []
    assert sum("ORDER BY" in step for step in plan) == SORTED.get(name, 0)
    assert [step for step in plan if INDEXES.get(name, "") in step] != []
