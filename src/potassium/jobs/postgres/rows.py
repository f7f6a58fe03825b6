"""Jobs and deliveries as rows of ``PostgresStore``'s tables."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from potassium.jobs.model import Event, Status, StoredJob
from potassium.webhooks.model import Delivery, DeliveryAttempt

__all__ = [
    "ATTEMPT",
    "DELIVERY",
    "JOB",
    "LIGHT_JOB",
    "attempt_of",
    "delivery_of",
    "event_of",
    "headers_in",
    "job_of",
    "message_in",
    "row_of",
    "text_in",
]

_INPUT = ("headers", "body", "request_line")
_COMPUTED = {"output_size": "length(output) AS output_size"}
_HEAVY = {
    "headers": "'[]' AS headers",
    "body": "''::bytea AS body",
    "request_line": "''::bytea AS request_line",
    "output": "NULL::bytea AS output",
}
_ALL = [field.name for field in fields(StoredJob)]
_DELIVERY = [field.name for field in fields(Delivery)]
_ATTEMPT = [field.name for field in fields(DeliveryAttempt)]


def _columns(names: Iterable[str], instead: Mapping[str, str], table: str) -> str:
    return ", ".join(instead.get(name, f"{table}.{name}") for name in names)


# What to select for a job with its input, or without input and output.
JOB = _columns(_ALL, {**_COMPUTED, "output": _HEAVY["output"]}, "jobs")
LIGHT_JOB = _columns(_ALL, {**_COMPUTED, **_HEAVY}, "jobs")
DELIVERY = _columns(_DELIVERY, {}, "deliveries")
ATTEMPT = _columns(_ATTEMPT, {}, "attempts")


def text_in(text: str) -> str:
    """Return a text as PostgreSQL can hold it, which is without NUL and half surrogate pairs."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def message_in(message: str | None) -> bytes | None:
    """Return the message of a job as it is stored: whatever its handler says."""
    return None if message is None else message.encode(errors="surrogatepass")


def headers_in(headers: Iterable[tuple[str, str]]) -> str:
    """Return headers as they are stored."""
    return json.dumps(list(headers))


def job_of(row: Mapping[str, Any]) -> StoredJob:
    """Return the job in a row of ``JOB`` or ``LIGHT_JOB``."""
    values = dict(row)
    values["status"] = Status(values["status"])
    values["headers"] = tuple((name, value) for name, value in json.loads(values["headers"]))
    values["request_line"] = values["request_line"].decode("latin-1")
    if values["message"] is not None:
        values["message"] = values["message"].decode(errors="surrogatepass")
    return StoredJob(**values)


def event_of(row: Mapping[str, Any]) -> Event:
    """Return the event in a row of events."""
    return Event(id=row["id"], kind=row["kind"], data=row["data"])


def row_of(item: Delivery | DeliveryAttempt) -> Mapping[str, Any]:
    """Return the row of a delivery, with its host and owner, or of an attempt."""
    row = {field.name: getattr(item, field.name) for field in fields(item)}
    if isinstance(item, Delivery):
        return {
            **row,
            "host": text_in(item.host),
            "owner": text_in(item.owner),
            "trace": json.dumps(item.trace),
        }
    return {**row, "error": None if item.error is None else text_in(item.error)}


def delivery_of(row: Mapping[str, Any]) -> Delivery:
    """Return the delivery in a row of ``DELIVERY``."""
    trace = tuple((name, value) for name, value in json.loads(row["trace"]))
    return Delivery(**{**row, "trace": trace})


def attempt_of(row: Mapping[str, Any]) -> DeliveryAttempt:
    """Return the attempt in a row of ``ATTEMPT``."""
    return DeliveryAttempt(**row)
