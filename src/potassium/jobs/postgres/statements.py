"""The SQL statements of ``PostgresStore``, except for those that store many things at a time.

Each uses an index of ``schema.py``, so that none is slower for a long queue, except ``BEFORE``,
which counts.
"""

from potassium.jobs.postgres.rows import JOB, LIGHT_JOB

__all__ = [
    "ASK",
    "BEFORE",
    "BY_ID",
    "CLAIM",
    "CLAIM_SUSPECT",
    "COUNT",
    "EVENTS",
    "FOLD",
    "LAST_EVENT",
    "LEFT_BEHIND",
    "NEXT_JOB",
    "NOW_DUE",
    "OLDEST",
    "OUTPUT",
    "OVERDUE",
    "WAITING",
    "deletion",
    "find",
]

BY_ID = f"SELECT {LIGHT_JOB} FROM jobs WHERE id = %s".encode()
OUTPUT = b"SELECT output FROM jobs WHERE id = %s"
COUNT = b"""
    SELECT coalesce(sum(jobs), 0)::bigint AS jobs FROM tallies
    WHERE status = %(status)s AND (%(handler)s::text IS NULL OR handler = %(handler)s)
"""
OLDEST = b"SELECT created_at FROM jobs WHERE status = %s ORDER BY seq LIMIT 1"
WAITING = b"""
    SELECT handler FROM tallies WHERE status = 'queued' GROUP BY handler HAVING sum(jobs) > 0
"""
LAST_EVENT = b"""
    SELECT coalesce(max(id), 0) AS id FROM events WHERE job = (SELECT seq FROM jobs WHERE id = %s)
"""
EVENTS = b"""
    WITH page AS (
        SELECT job, id, sum(length(data)) OVER (ORDER BY id) - length(data) AS bytes_before
        FROM (
            SELECT job, id, data FROM events
            WHERE job = (SELECT seq FROM jobs WHERE id = %(job_id)s) AND id > %(after)s
            ORDER BY id LIMIT %(limit)s
        ) AS first
    )
    SELECT events.id, kind, data FROM page JOIN events USING (job, id)
    WHERE bytes_before < %(most)s ORDER BY events.id
"""
BEFORE = b"""
    SELECT count(*) AS jobs FROM jobs
    WHERE handler = %(handler)s AND is_due IN (0, 1, 2) AND (rank, seq) < (%(rank)s, %(seq)s)
"""


def find(*columns: str) -> bytes:
    """Return a statement for a page of the jobs in which these have the values that are bound."""
    owned = "AND owner = %(owner)s AND owner <> ''" if "owner" in columns else ""
    status = "AND status = %(status)s" if "status" in columns else ""
    return f"""
        SELECT {LIGHT_JOB} FROM jobs
        WHERE seq < coalesce((SELECT seq FROM jobs WHERE id = %(after)s {owned}),
                             CASE WHEN %(after)s::text IS NULL THEN 9223372036854775807 ELSE 0 END)
        {status} {owned} ORDER BY seq DESC LIMIT %(limit)s
    """.encode()


NOW_DUE = b"""
    UPDATE jobs SET is_due = 1 WHERE seq IN (
        SELECT seq FROM jobs
        WHERE handler = ANY(%(handlers)s) AND is_due = 0 AND due_at <= %(now)s
        FOR UPDATE SKIP LOCKED
    )
"""

_CLAIMED = f"""
    UPDATE jobs SET status = 'running', is_due = NULL, claimant = %(server)s,
        attempts = attempts + 1, started_at = %(now)s, progress = NULL, message = NULL
    FROM chosen WHERE jobs.seq = chosen.seq RETURNING {JOB}
"""
# A server that has lost its lease claims nothing: nobody would take that up.
_ALIVE = "EXISTS (SELECT FROM servers WHERE id = %(server)s AND heir IS NULL)"

# In line are those that were due by the clock of some server, which may be ahead a little.
_APART = 1.0  # seconds

CLAIM = f"""
    WITH first AS (
        SELECT job.* FROM unnest(%(handlers)s::text[]) AS named (handler) CROSS JOIN LATERAL (
            SELECT seq, rank, input_bytes FROM jobs
            WHERE handler = named.handler AND is_due = 1 AND due_at <= %(now)s + {_APART}
            AND (expires_at IS NULL OR expires_at > %(now)s)
            ORDER BY rank, seq LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        ) AS job
        WHERE {_ALIVE}
    ), chosen AS (
        SELECT seq FROM (
            SELECT seq, rank,
                sum(input_bytes) OVER (ORDER BY rank, seq) - input_bytes AS bytes_before
            FROM first ORDER BY rank, seq LIMIT %(limit)s
        ) AS next WHERE bytes_before < %(most)s
    )
    {_CLAIMED}
""".encode()

CLAIM_SUSPECT = f"""
    WITH chosen AS (
        SELECT seq FROM jobs WHERE is_due = 2 AND handler = ANY(%(handlers)s) AND {_ALIVE}
        ORDER BY rank, seq LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    {_CLAIMED}
""".encode()

# Of those in line, all are due.
NEXT_JOB = b"""
    SELECT min(due_at) AS due_at FROM unnest(%(handlers)s::text[]) AS named (handler)
    CROSS JOIN LATERAL (
        (SELECT due_at FROM jobs WHERE handler = named.handler AND is_due = 1
         ORDER BY rank, seq LIMIT 1)
        UNION ALL SELECT min(due_at) FROM jobs WHERE handler = named.handler AND is_due = 0
    ) AS next
"""

LEFT_BEHIND = f"""
    SELECT jobs.claimant, {LIGHT_JOB} FROM servers JOIN jobs ON jobs.claimant = servers.id
    WHERE heir = %s AND status = 'running' ORDER BY seq
""".encode()

ASK = b"""
    UPDATE jobs SET is_asked_to_end = true
    WHERE seq = %(seq)s AND id = %(id)s AND attempts = %(attempts)s AND status = 'running'
    RETURNING seq
"""

OVERDUE = f"""
    SELECT {LIGHT_JOB} FROM jobs WHERE is_due IS NOT NULL AND expires_at <= %(now)s
    ORDER BY expires_at, seq LIMIT %(limit)s
""".encode()


def _ended(*columns: str) -> str:
    """Return a query for jobs that ended before a time, with the values that are bound."""
    return f"""
        SELECT seq, id, bytes FROM jobs
        WHERE finished_at IS NOT NULL AND finished_at < %(before)s
        {"".join(f"AND {column} = %({column})s " for column in columns)}
        {"AND owner <> ''" if "owner" in columns else ""}
        AND NOT EXISTS (
            SELECT FROM deliveries WHERE job_id = jobs.id AND due_at IS NOT NULL
        )
        ORDER BY finished_at, seq LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    """


def deletion(*columns: str) -> bytes:
    """Return a statement that deletes jobs that ended before a time, with all that is theirs."""
    return f"""
        WITH old AS ({_ended(*columns)}), chosen AS (
            SELECT seq, id FROM (
                SELECT seq, id, sum(bytes) OVER (ORDER BY seq) - bytes AS bytes_before FROM old
            ) AS sized WHERE bytes_before < %(most)s
        ), told AS (
            DELETE FROM events USING chosen WHERE job = chosen.seq
        ), posted AS (
            DELETE FROM deliveries USING chosen WHERE job_id = chosen.id RETURNING deliveries.id
        ), tried AS (
            DELETE FROM attempts USING posted WHERE delivery_id = posted.id
        ), deleted AS (
            DELETE FROM jobs USING chosen WHERE jobs.seq = chosen.seq RETURNING jobs.seq
        )
        SELECT count(*) AS jobs FROM deleted
    """.encode()


# One server at a time sums up, once it is worth it.
FOLD = b"""
    WITH old AS (
        DELETE FROM tallies
        WHERE (SELECT count(*) FROM tallies) > %(most)s
        AND (SELECT pg_try_advisory_xact_lock(hashtextextended(%(schema)s, 1)))
        RETURNING status, handler, jobs, bytes
    ), folded AS (
        INSERT INTO tallies SELECT status, handler, sum(jobs), sum(bytes) FROM old
        GROUP BY 1, 2 HAVING sum(jobs) <> 0 OR sum(bytes) <> 0
    )
    SELECT FROM old LIMIT 1
"""
