"""Jobs and deliveries as rows of ``SqliteStore``'s tables."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from sqlite3 import Row
from typing import Any

from potassium.jobs.model import Event, Status, StoredJob
from potassium.jobs.order import rank
from potassium.jobs.room import OVERHEAD, input_bytes
from potassium.jobs.sqlite.input_files import InputFile, InputFiles
from potassium.webhooks.model import Delivery, DeliveryAttempt

__all__ = [
    "ADD_ATTEMPT",
    "ADD_DELIVERY",
    "ADD_EVENT",
    "ADD_INPUT",
    "ADD_JOB",
    "ATTEMPT",
    "DELIVERY",
    "JOB",
    "LIGHT_JOB",
    "attempt_of",
    "claim_row",
    "delivery_of",
    "event_rows",
    "input_row",
    "job_of",
    "job_row",
    "row_of",
]

_INPUT = ("headers", "body", "request_line")
_COMPUTED = {"output_size": "length(output) AS output_size"}
_HEAVY = {
    "headers": "'[]' AS headers",
    "body": "x'' AS body",
    "request_line": "'' AS request_line",
    "output": "NULL AS output",
}

_ALL = [field.name for field in fields(StoredJob)]
_STATE = [name for name in _ALL if name not in (*_INPUT, *_COMPUTED)]
_DELIVERY = [field.name for field in fields(Delivery)]
_ATTEMPT = [field.name for field in fields(DeliveryAttempt)]


def _select(columns: Iterable[str], source: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {source}"


def _insert(table: str, columns: Iterable[str]) -> str:
    names = list(columns)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES (:{', :'.join(names)})"


JOB = _select(
    [*(_COMPUTED.get(name, name) for name in _ALL), "file", "file_bytes"],
    "jobs JOIN inputs ON inputs.job = jobs.seq ",
)
LIGHT_JOB = _select(({**_COMPUTED, **_HEAVY}.get(name, name) for name in _ALL), "jobs ")
DELIVERY = _select(_DELIVERY, "deliveries ")
ATTEMPT = _select((f"attempts.{name}" for name in _ATTEMPT), "attempts ")

ADD_JOB = _insert("jobs", [*_STATE, "rank", "is_due", "bytes", "input_bytes"])
ADD_INPUT = _insert("inputs", ["job", *_INPUT, "file", "file_bytes"])
ADD_EVENT = _insert("events", ["job", "id", "kind", "data"])
ADD_DELIVERY = _insert("deliveries", [*_DELIVERY, "host", "owner"])
ADD_ATTEMPT = _insert("attempts", _ATTEMPT)


def job_row(job: StoredJob) -> Mapping[str, Any]:
    """Return the row of the state of a new job, which is due."""
    row = {name: getattr(job, name) for name in _STATE}
    size = input_bytes(job)
    sizes = {"input_bytes": size, "bytes": size + OVERHEAD}
    return {**row, **sizes, "status": job.status.value, "rank": rank(job), "is_due": True}


def claim_row(job: StoredJob) -> Mapping[str, Any]:
    """Return what a claim changes in the row of the job that it returns."""
    return {"seq": job.seq, "attempts": job.attempts, "started_at": job.started_at}


def input_row(job: StoredJob) -> Mapping[str, Any]:
    """Return the row of what a job was submitted with."""
    body = job.body
    row = {
        "job": job.seq,
        "headers": json.dumps(job.headers),
        "request_line": job.request_line,
    }
    if isinstance(body, InputFile):
        return {**row, "body": b"", "file": body.path.name, "file_bytes": body.size}
    return {**row, "body": body, "file": None, "file_bytes": 0}


def event_rows(job: StoredJob, events: Iterable[Event]) -> list[Mapping[str, Any]]:
    """Return the rows of events of a job."""
    return [{"job": job.seq, "id": e.id, "kind": e.kind, "data": e.data} for e in events]


def row_of(item: Delivery | DeliveryAttempt) -> Mapping[str, Any]:
    """Return the row of a delivery, with its host and owner, or of an attempt."""
    row = {field.name: getattr(item, field.name) for field in fields(item)}
    if isinstance(item, Delivery):
        row |= {"host": item.host, "owner": item.owner, "trace": json.dumps(item.trace)}
    return row


def job_of(row: Row, files: InputFiles | None = None) -> StoredJob:
    """Return the job in a row of ``LIGHT_JOB``, or of ``JOB``, with its input in ``files``."""
    values = dict(row)
    if files is not None:
        file, size = values.pop("file"), values.pop("file_bytes")
        values["body"] = values["body"] if file is None else files.at(file, size)
    values["status"] = Status(values["status"])
    values["is_suspect"] = bool(values["is_suspect"])
    values["headers"] = tuple((name, value) for name, value in json.loads(values["headers"]))
    return StoredJob(**values)


def delivery_of(row: Row) -> Delivery:
    """Return the delivery in a row of ``DELIVERY``."""
    values = dict(row)
    values["is_guarded"] = bool(values["is_guarded"])
    values["trace"] = tuple((name, value) for name, value in json.loads(values["trace"]))
    return Delivery(**values)


def attempt_of(row: Row) -> DeliveryAttempt:
    """Return the attempt in a row of ``ATTEMPT``."""
    return DeliveryAttempt(**dict(row))
