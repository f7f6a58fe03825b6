"""What changes jobs that are stored: their ends, new attempts and reports, many at a time.

A change names the job's status and attempts as they were; if they differ now, it does nothing. If
this is because the same server has made the same change already, and lost the connection before it
heard of it, the change counts as made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from potassium.jobs.model import Event, StoredJob
from potassium.jobs.postgres.arrays import arrays, given
from potassium.jobs.postgres.rows import message_in, row_of, text_in
from potassium.jobs.room import event_bytes
from potassium.webhooks.model import Delivery

__all__ = ["Change", "Kind"]

_JOB = {
    "n": "int",
    "seq": "bigint",
    "id": "text",
    "was": "text",
    "attempts": "int",
    "crashes": "int",
    "is_suspect": "bool",
    "added": "bigint",
}
_EVENT = {"n": "int", "id": "int", "kind": "text", "data": "bytea"}
_DELIVERY = {
    "n": "int",
    "id": "text",
    "url": "text",
    "host": "text",
    "owner": "text",
    "body": "bytea",
    "request_id": "text",
    "job_id": "text",
    "is_guarded": "bool",
    "trace": "text",
    "created_at": "float8",
    "attempts": "int",
    "due_at": "float8",
}
_ADDED = [name for name in _DELIVERY if name != "n"]

_TELL = f"""
    told AS (
        INSERT INTO events SELECT changed.seq, given.id, given.kind, given.data
        FROM {given(_EVENT, "event_")} JOIN changed USING (n)
        ON CONFLICT DO NOTHING
    )
"""
_POST = f"""
    posted AS (
        INSERT INTO deliveries ({", ".join(_ADDED)})
        SELECT {", ".join(f"given.{name}" for name in _ADDED)}
        FROM {given(_DELIVERY, "post_")} JOIN changed USING (n)
    )
"""


def _statement(values: Mapping[str, str], change: str, where: str, made: str, rest: str) -> str:
    """Return the statement for one kind of change.

    Args:
        values: the columns that it takes, beside those of all changes.
        change: what it sets.
        where: which jobs may change in this way.
        made: which jobs this server has changed already.
        rest: what else happens then.

    """
    return f"""
        WITH given AS MATERIALIZED (SELECT * FROM {given({**_JOB, **values})}),
        changed AS (
            UPDATE jobs SET {change} FROM given
            WHERE jobs.seq = given.seq AND jobs.id = given.id AND jobs.status = given.was
            AND jobs.attempts = given.attempts AND {where}
            RETURNING given.n, jobs.seq
        ), {rest}
        SELECT n FROM changed
        UNION ALL SELECT n FROM given JOIN jobs USING (seq, id, attempts)
        WHERE given.was = 'running' AND jobs.claimant = %(server)s AND {made}
    """


_SUSPICION = "crashes = given.crashes, is_suspect = given.is_suspect"
_REPORTED = """
    progress = coalesce(given.progress, jobs.progress),
    message = coalesce(given.message, jobs.message)
"""
_GROWN = "bytes = bytes + given.added"
_REPLACED = f"{_GROWN} - coalesce(length(jobs.error), 0)"


_END = {
    "status": "text",
    "now": "float8",
    "output": "bytea",
    "output_type": "text",
    "error": "bytea",
    "progress": "float8",
    "message": "bytea",
}
_PUT_BACK = {"due_at": "float8", "error": "bytea", "more": "int"}
_RETRY = {"attempts_limit": "int", "now": "float8"}
_NOTE = {"progress": "float8", "message": "bytea"}


class Kind(Enum):
    """The kinds of changes: their columns, and their statements."""

    def __init__(self, values: Mapping[str, str], statement: str) -> None:
        self.columns = {**_JOB, **values}
        self.statement = statement.encode()

    END = (
        _END,
        _statement(
            _END,
            f"""
            status = given.status, is_due = NULL, finished_at = given.now,
            output = given.output, output_type = given.output_type,
            error = given.error, {_SUSPICION}, {_REPORTED},
            body = CASE given.status WHEN 'failed' THEN body ELSE '' END,
            headers = CASE given.status WHEN 'failed' THEN headers ELSE '[]' END,
            request_line = CASE given.status WHEN 'failed' THEN request_line ELSE '' END,
            {_REPLACED} - CASE given.status WHEN 'failed' THEN 0 ELSE input_bytes END
            """,
            "jobs.status IN ('queued', 'running')",
            "jobs.status = given.status",
            f"{_TELL}, {_POST}",
        ),
    )
    PUT_BACK = (
        _PUT_BACK,
        _statement(
            _PUT_BACK,
            f"""
            status = 'queued', is_due = CASE WHEN given.is_suspect THEN 2 ELSE 0 END,
            due_at = given.due_at, error = given.error, {_SUSPICION}, expires_at = NULL,
            attempts_limit = attempts_limit + given.more, {_REPLACED}
            """,
            "jobs.status = 'running'",
            "jobs.status = 'queued'",
            _TELL,
        ),
    )
    RETRY = (
        _RETRY,
        _statement(
            _RETRY,
            f"""
            status = 'queued', is_due = CASE WHEN jobs.is_suspect THEN 2 ELSE 0 END,
            due_at = given.now, finished_at = NULL, expires_at = NULL, is_asked_to_end = false,
            attempts_limit = given.attempts_limit, {_GROWN}
            """,
            "jobs.status = 'failed'",
            "false",
            _TELL,
        ),
    )
    NOTE = (
        _NOTE,
        _statement(_NOTE, f"{_REPORTED}, {_GROWN}", "jobs.status = 'running'", "false", _TELL),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One change of a job.

    Attributes:
        kind: what kind of change it is.
        job: as it was.
        values: those of the columns of its kind.
        events: stored with the change.
        deliveries: stored with the change.

    """

    kind: Kind
    job: StoredJob
    values: Mapping[str, Any]
    events: Sequence[Event]
    deliveries: Sequence[Delivery] = ()

    @property
    def size(self) -> int:
        """How many bytes it adds."""
        added = sum(len(self.values.get(name) or b"") for name in ("output", "error"))
        return added + event_bytes(self.events)

    @staticmethod
    def parameters(kind: Kind, changes: Sequence["Change"], server: str) -> Mapping[str, Any]:
        """Return the parameters of the statement of a kind for changes of this kind."""
        jobs = [_row(number, change) for number, change in enumerate(changes)]
        events = [
            {"n": number, "id": event.id, "kind": event.kind, "data": event.data}
            for number, change in enumerate(changes)
            for event in change.events
        ]
        posts = [
            {**row_of(delivery), "n": number}
            for number, change in enumerate(changes)
            for delivery in change.deliveries
        ]
        given = {**arrays(kind.columns, jobs), **arrays(_EVENT, events, "event_")}
        if kind is Kind.END:
            given |= arrays(_DELIVERY, posts, "post_")
        return {**given, "server": server}


def _row(number: int, change: Change) -> Mapping[str, Any]:
    job, values = change.job, dict(change.values)
    if "message" in values:
        values["message"] = message_in(values["message"])
    return {
        **values,
        "n": number,
        "seq": job.seq,
        "id": text_in(job.id),
        "was": job.status.value,
        "attempts": job.attempts,
        "crashes": job.crashes,
        "is_suspect": job.is_suspect,
        "added": change.size,
    }
