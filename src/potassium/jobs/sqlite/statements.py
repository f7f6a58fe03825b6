"""The SQL statements of ``SqliteStore``.

Each uses an index of ``schema.py``, so that none is slower for a long queue, except ``BEFORE``,
which counts.
"""

from potassium.jobs.sqlite.rows import JOB, LIGHT_JOB

__all__ = [
    "BEFORE",
    "BY_ID",
    "BY_KEY",
    "CLAIM",
    "COUNT",
    "COUNTS",
    "DELETE",
    "DELETE_DELIVERIES",
    "END",
    "ENDED",
    "ENDED_OWN",
    "ENDED_OWN_STATUS",
    "ENDED_STATUS",
    "EVENTS",
    "FILES",
    "FIND",
    "FIND_OWN",
    "FIND_OWN_STATUS",
    "FIND_STATUS",
    "LAST_EVENT",
    "LEFT_BEHIND",
    "NEXT_IN_LINE",
    "NEXT_JOB",
    "NEXT_SUSPECT",
    "NOTE",
    "NOW_DUE",
    "OLDEST",
    "OUTPUT",
    "OVERDUE",
    "PUT_BACK",
    "RETRY",
    "USAGE",
    "WAITING",
]

BY_ID = LIGHT_JOB + "WHERE id = ?"
FILES = """
    SELECT value FROM json_each(?) AS named
    WHERE NOT EXISTS (SELECT 1 FROM inputs WHERE file = named.value)
"""
OUTPUT = "SELECT output FROM jobs WHERE id = ?"
BY_KEY = LIGHT_JOB + "WHERE owner = ? AND handler = ? AND idempotency_key = ?"
COUNT = """
    SELECT coalesce(sum(jobs), 0) FROM counts
    WHERE status = :status AND (:handler IS NULL OR handler = :handler)
"""
USAGE = """
    SELECT coalesce(sum(CASE status WHEN 'queued' THEN jobs END), 0), coalesce(sum(bytes), 0)
    FROM counts
"""
COUNTS = "SELECT status, handler, jobs FROM counts WHERE status <> 'delivery'"
OLDEST = "SELECT created_at FROM jobs WHERE status = ? ORDER BY seq LIMIT 1"
WAITING = "SELECT handler FROM counts WHERE status = 'queued' AND jobs > 0"
LAST_EVENT = """
    SELECT coalesce(max(events.id), 0) FROM events
    WHERE job = (SELECT seq FROM jobs WHERE id = ?)
"""


def _find(*columns: str) -> str:
    """Return a statement for a page of the jobs in which these have the values that are bound."""
    owned = "AND owner = :owner AND owner <> ''" if "owner" in columns else ""
    return (
        LIGHT_JOB
        + f"""
        WHERE {"".join(f"{column} = :{column} AND " for column in columns)}
        seq < coalesce((SELECT seq FROM jobs WHERE id = :after {owned}),
                       CASE WHEN :after IS NULL THEN 9223372036854775807 ELSE 0 END)
        {owned} ORDER BY seq DESC LIMIT :limit
    """
    )


FIND = _find()
FIND_STATUS = _find("status")
FIND_OWN = _find("owner")
FIND_OWN_STATUS = _find("owner", "status")

BEFORE = """
    SELECT count(*) FROM jobs WHERE handler = :handler
    AND is_due IN (0, 1, 2) AND (rank, seq) < (:rank, :seq)
"""

NOW_DUE = """
    UPDATE jobs SET is_due = 1 WHERE seq IN (
        SELECT jobs.seq FROM json_each(:handlers) AS named CROSS JOIN jobs
        WHERE handler = named.value AND is_due = 0 AND due_at <= :now
    )
"""

NEXT_IN_LINE = (
    JOB
    + """
    WHERE jobs.seq IN (
        SELECT seq FROM (
            SELECT first.seq, sum(first.input_bytes) OVER (ORDER BY first.rank, first.seq)
                - first.input_bytes AS bytes_before
            FROM json_each(:handlers) AS named CROSS JOIN jobs AS first
            ON first.seq IN (
                SELECT seq FROM jobs INDEXED BY jobs_in_line
                WHERE handler = named.value AND is_due = 1
                AND due_at <= :now AND (expires_at IS NULL OR expires_at > :now)
                ORDER BY rank, seq LIMIT :limit
            )
            ORDER BY first.rank, first.seq LIMIT :limit
        )
        WHERE bytes_before < :most
    )
    ORDER BY jobs.rank, jobs.seq
"""
)

NEXT_SUSPECT = (
    JOB
    + """
    WHERE jobs.seq = (
        SELECT seq FROM json_each(:handlers) AS named CROSS JOIN jobs
        WHERE handler = named.value AND is_due = 2 ORDER BY rank, seq LIMIT 1
    )
"""
)

CLAIM = """
    UPDATE jobs SET status = 'running', is_due = NULL, attempts = :attempts,
        started_at = :started_at, progress = NULL, message = NULL
    WHERE seq = :seq
"""

NEXT_JOB = """
    SELECT min(min(coalesce(waits, due), coalesce(due, waits))) FROM (
        SELECT
            (SELECT min(due_at) FROM jobs
             WHERE handler = named.value AND is_due = 0) AS waits,
            (SELECT min(due_at) FROM jobs
             WHERE handler = named.value AND is_due = 1) AS due
        FROM json_each(:handlers) AS named
    )
"""

LEFT_BEHIND = LIGHT_JOB + (
    "WHERE status = 'running' AND (seq, attempts) IN (SELECT seq, attempts FROM left_behind) "
    "ORDER BY seq"
)

# A change names the job's status and attempts as they were; if they differ now, it does nothing.
_SAME = "WHERE seq = :seq AND id = :id AND status = :was AND attempts = :attempts "

END = (
    "UPDATE jobs SET status = :status, is_due = NULL, finished_at = :now, "
    "output = :output, output_type = :output_type, error = :error, "
    "crashes = :crashes, is_suspect = :is_suspect, "
    "bytes = bytes + :added - coalesce(length(error), 0) "
    "- CASE :status WHEN 'failed' THEN 0 ELSE input_bytes END, "
    "progress = coalesce(:progress, progress), message = coalesce(:message, message) "
    + _SAME
    + "AND status IN ('queued', 'running') RETURNING seq"
)
PUT_BACK = (
    "UPDATE jobs SET status = 'queued', is_due = 2 * :is_suspect, due_at = :due_at, "
    "error = :error, expires_at = NULL, attempts_limit = attempts_limit + :more, "
    "crashes = :crashes, is_suspect = :is_suspect, "
    "bytes = bytes + :added - coalesce(length(error), 0) "
    + _SAME
    + "AND status = 'running' RETURNING seq"
)
RETRY = (
    "UPDATE jobs SET status = 'queued', is_due = 2 * is_suspect, due_at = :now, "
    "finished_at = NULL, expires_at = NULL, attempts_limit = :attempts_limit, "
    "bytes = bytes + :added " + _SAME + "AND status = 'failed' RETURNING seq"
)
NOTE = (
    "UPDATE jobs SET progress = coalesce(:progress, progress), "
    "message = coalesce(:message, message), bytes = bytes + :added "
    + _SAME
    + "AND status = 'running' RETURNING seq"
)

EVENTS = """
    SELECT id, kind, data FROM events
    WHERE job = (SELECT seq FROM jobs WHERE id = :job_id) AND id IN (
        SELECT id FROM (
            SELECT id, sum(size) OVER (ORDER BY id) - size AS bytes_before FROM (
                SELECT id, length(data) AS size FROM events
                WHERE job = (SELECT seq FROM jobs WHERE id = :job_id) AND id > :after
                ORDER BY id LIMIT :limit
            )
        )
        WHERE bytes_before < :most
    )
    ORDER BY id
"""

OVERDUE = LIGHT_JOB + (
    "WHERE is_due IS NOT NULL AND expires_at <= ? ORDER BY expires_at, seq LIMIT ?"
)


def _ended(*columns: str) -> str:
    """Return a statement for jobs that ended before a time, with the values that are bound.

    Those that ended first come first, or of a status those that were submitted first.
    """
    return f"""
        SELECT seq, id, bytes FROM jobs
        WHERE finished_at IS NOT NULL AND finished_at < :before
        {"".join(f"AND {column} = :{column} " for column in columns)}
        {"AND owner <> ''" if "owner" in columns else ""}
        AND NOT EXISTS (
            SELECT 1 FROM deliveries WHERE job_id = jobs.id AND due_at IS NOT NULL
        )
        ORDER BY {"seq" if columns else "finished_at, seq"} LIMIT :limit
    """


ENDED = _ended()
ENDED_STATUS = _ended("status")
ENDED_OWN = _ended("owner")
ENDED_OWN_STATUS = _ended("owner", "status")
DELETE_DELIVERIES = "DELETE FROM deliveries WHERE job_id = ?"
DELETE = "DELETE FROM jobs WHERE seq = ?"
