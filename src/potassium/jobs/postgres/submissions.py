"""What stores new jobs, many at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from potassium.jobs.model import NewJob
from potassium.jobs.postgres.arrays import arrays, given
from potassium.jobs.postgres.rows import LIGHT_JOB, headers_in, text_in
from potassium.jobs.room import OVERHEAD, input_bytes

__all__ = ["BY_KEY", "SUBMIT", "key_of", "parameters"]

_COLUMNS = {
    "id": "text",
    "handler": "text",
    "owner": "text",
    "request_id": "text",
    "priority": "int2",
    "attempts_limit": "int",
    "created_at": "float8",
    "expires_at": "float8",
    "webhook_url": "text",
    "idempotency_key": "text",
    "fingerprint": "bytea",
    "headers": "text",
    "request_line": "bytea",
    "body": "bytea",
    "input_bytes": "bigint",
}

# Those whose idempotency key is known already are left out.
SUBMIT = f"""
    INSERT INTO jobs ({", ".join(_COLUMNS)}, bytes, status, is_due, due_at, attempts,
                      is_asked_to_end, crashes, is_suspect)
    SELECT {", ".join(_COLUMNS)}, input_bytes + {OVERHEAD}, 'queued', 1, created_at, 0,
           false, 0, false
    FROM {given(_COLUMNS)}
    ON CONFLICT DO NOTHING RETURNING id, seq
""".encode()

BY_KEY = f"""
    SELECT {LIGHT_JOB} FROM jobs
    WHERE owner = %(owner)s AND handler = %(handler)s AND idempotency_key = %(key)s
""".encode()


def parameters(jobs: Sequence[NewJob]) -> Mapping[str, Any]:
    """Return the parameters of ``SUBMIT``. The bodies must be in memory."""
    return arrays(_COLUMNS, [_row(job) for job in jobs])


def key_of(job: NewJob) -> Mapping[str, Any]:
    """Return the parameters of ``BY_KEY`` for the job with the same idempotency key."""
    return {
        "owner": text_in(job.owner),
        "handler": text_in(job.handler),
        "key": text_in(job.idempotency_key or ""),
    }


def _row(job: NewJob) -> Mapping[str, Any]:
    key = job.idempotency_key
    return {
        **{name: getattr(job, name, None) for name in _COLUMNS},
        "owner": text_in(job.owner),
        "handler": text_in(job.handler),
        "request_id": text_in(job.request_id),
        "idempotency_key": None if key is None else text_in(key),
        "headers": headers_in(job.headers),
        "request_line": job.request_line.encode("latin-1"),
        "input_bytes": input_bytes(job),
    }
