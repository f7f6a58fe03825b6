"""A log line for each call, and for each attempt at a background job."""

import logging
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import orjson
from starlette.types import Scope

from potassium.engine import Job
from potassium.errors import ClientLeft, PotassiumError
from potassium.http.exchange import Exchange
from potassium.http.request_id import request_id_of
from potassium.jobs.attempt import Attempt
from potassium.jobs.model import Status
from potassium.observe.logs.refusals import RefusalLimit

__all__ = ["AccessLog"]

LONGEST_PATH = 256  # characters; more are cut
CLIENT_ERROR, SERVER_ERROR = 400, 500
TRACEPARENT = re.compile(r"[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}")

# What is said of where a call has spent its time, in the order in which it goes.
PARTS = (
    ("prepare_ms", "prepare"),
    ("queue_ms", "queue"),
    ("run_ms", "run"),
    ("finish_ms", "finish"),
    ("first_chunk_ms", "first chunk"),
    ("chunks", "chunks"),
    ("batch_size", "batch of"),
)

ours = logging.getLogger("potassium")
logger = logging.getLogger("potassium.access")

Fields = dict[str, Any]


class AccessLog:
    """Logs each call at its end, with level INFO, on ``potassium.access``.

    The line says all that matters in words; its fields are the ``extra`` of the record. A field
    that does not apply is left out. Queries are never logged, as they may hold secrets. The lines
    of requests that are refused before a handler runs are limited in number.

    Args:
        of_all_paths: whether to log requests for health, metrics and the page, too.

    """

    def __init__(self, *, of_all_paths: bool) -> None:
        self._of_all_paths = of_all_paths
        self._refusals = RefusalLimit()

    def ready(self) -> None:
        """Say it if nobody gets the lines: the app has started, and logging is as it will be."""
        is_set = logger.level or ours.level
        if not logger.hasHandlers() or not (is_set or logger.isEnabledFor(logging.INFO)):
            ours.warning(
                "the lines of calls are on, but nothing writes them: call "
                "logging.basicConfig(level=logging.INFO), which gives the root logger a handler "
                'and that level, or run the app with app.serve(log="json"), which sets up logging'
            )

    def began(self, exchange: Exchange) -> None:
        """Do nothing: a call is logged at its end."""

    def ended(self, exchange: Exchange) -> None:
        """Log a call."""
        if not logger.isEnabledFor(logging.INFO) or not self._passes(exchange):
            return
        scope, handler = exchange.scope, exchange.handler
        fields: Fields = {"request_id": request_id_of(scope)}
        if trace_id := exchange.trace_id or _sent_trace(scope["headers"]):
            fields["trace_id"] = trace_id
        if exchange.job_id:
            fields["job_id"] = exchange.job_id
        if client := _client(scope):
            fields["client"] = client
        fields["method"] = scope["method"]
        fields["path"] = _shown(scope["path"])
        if handler:
            fields["handler"] = handler
        fields["status"] = exchange.status
        if exchange.code:
            fields["code"] = exchange.code
        fields["total_ms"] = _ms(exchange.ended_at - exchange.began_at)
        if isinstance(exchange.call, Job):
            _add_call(fields, exchange.call, exchange)
        if exchange.received is not None:
            fields["bytes_in"] = exchange.received
        is_answered = (exchange.status, exchange.code) != (ClientLeft.status, ClientLeft.code)
        fields["bytes_out"] = exchange.sent if is_answered else 0  # nobody got the document
        _log(_words(fields), fields)

    def _passes(self, exchange: Exchange) -> bool:
        if exchange.is_quiet and not self._of_all_paths:
            return False
        if exchange.status < CLIENT_ERROR or not _is_refused(exchange):
            return True
        return self._refusals.passes(exchange.status, exchange.code)

    def refused(self, error: PotassiumError, scope: Scope) -> None:
        """Log what a connection has answered by itself: there is no request that the app sees."""
        if not logger.isEnabledFor(logging.INFO):
            return
        if not self._refusals.passes(error.status, error.code):
            return
        fields: Fields = {"request_id": request_id_of(scope)}
        words = f"refused: {error.status} {error.code}"
        if client := _client(scope):
            fields["client"] = client
            words += f" from {client}"
        _log(words, fields | {"status": error.status, "code": error.code})

    def end(self) -> None:
        """Say what was left out: the app stops."""
        self._refusals.tell()

    def attempted(self, attempt: Attempt, status: Status, error: bytes | None) -> None:
        """Log an attempt at a background job that has ended."""
        if not logger.isEnabledFor(logging.INFO):
            return
        job = attempt.job
        fields: Fields = {"request_id": job.request_id}
        if trace_id := _trace_id(dict(job.headers).get("traceparent", "")):
            fields["trace_id"] = trace_id
        fields |= {
            "job_id": job.id,
            "handler": job.handler,
            "job_status": status.value,
            "attempt": job.attempts,
            "attempts_limit": job.attempts_limit,
        }
        if error is not None:
            fields["code"] = orjson.loads(error)["code"]
        if attempt.waited is not None:
            since_due = max((job.started_at or 0.0) - job.due_at, 0.0)
            fields["queue_ms"] = _ms(since_due + attempt.waited)
        if attempt.ran is not None:
            fields["run_ms"] = _ms(attempt.ran)
        if attempt.batch_size > 1:
            fields["batch_size"] = attempt.batch_size
        _log(_words_of_job(fields), fields)


def _is_refused(exchange: Exchange) -> bool:
    """Return whether a request that has failed was answered, or given up, before a handler ran."""
    # A 500 is the app's own, or ours.
    return exchange.call is None and not exchange.job_id and exchange.status != SERVER_ERROR


def _add_call(fields: Fields, call: Job, exchange: Exchange) -> None:
    """Add where a call has spent its time; a step that has not ended has none yet."""
    waited_until = call.began_at or exchange.ended_at
    if call.preparation is not None:
        fields["prepare_ms"] = _ms(call.preparation[1] - call.preparation[0])
    fields["queue_ms"] = _ms(max(waited_until - call.queued_at, 0.0))
    if (run := call.run_time) is not None:
        fields["run_ms"] = _ms(run)
    if call.finishing is not None:
        fields["finish_ms"] = _ms(call.finishing[1] - call.finishing[0])
    if call.operation.batching is not None and call.began_at is not None:
        fields["batch_size"] = call.batch_size
    stream = call.stream
    if stream is not None:
        if stream.began_at is not None:
            fields["first_chunk_ms"] = _ms(stream.began_at - exchange.began_at)
        fields["chunks"] = stream.chunks


def _log(words: str, fields: Fields) -> None:
    # Not logger.info(), which walks the stack to find its caller, and not ``extra``: that looks
    # up each name, as it may be one of logging's own.
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, words, (), None)
    record.__dict__.update(fields)
    logger.handle(record)


def _words(fields: Fields) -> str:
    code, client = fields.get("code"), fields.get("client")
    said = f"{fields['method']} {fields['path']} {fields['status']}"
    if code:
        said += f" {code}"
    said += f" in {fields['total_ms']} ms"
    if parts := _parts(fields):
        said += f" ({parts})"
    if "job_id" in fields:
        said += f" job {fields['job_id']}"
    return f"{said} from {client}" if client else said


def _words_of_job(fields: Fields) -> str:
    said = f"job {fields['job_id']} of {fields['handler']} {fields['job_status']}"
    if "code" in fields:
        said += f" {fields['code']}"
    said += f" after attempt {fields['attempt']} of {fields['attempts_limit']}"
    parts = _parts(fields)
    return f"{said} ({parts})" if parts else said


def _parts(fields: Fields) -> str:
    return ", ".join([f"{words} {fields[name]}" for name, words in PARTS if name in fields])


def _ms(seconds: float) -> float:
    return int(seconds * 1e6 + 0.5) / 1000  # as round(seconds * 1000, 3), in a third of the time


def _shown(path: str) -> str:
    """Return a path as it is if all of it is visible, otherwise with escapes as in a URL; cut."""
    cut = path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "..."
    return cut if cut.isprintable() else quote(cut, safe="/:@!$&'()*+,;=~", errors="replace")


def _client(scope: Scope) -> str:
    """Return the address of the client, as uvicorn's proxy headers have it; empty if unknown."""
    client = scope.get("client")
    if not client or not client[0]:
        return ""  # it came over a Unix socket
    host, port = client
    host = host[:LONGEST_PATH] if host.isprintable() else quote(host[:LONGEST_PATH])
    if not port:
        return str(host)  # a proxy has told the host alone
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _sent_trace(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the trace that a client says its request belongs to; empty if it says none."""
    for name, value in headers:
        if name == b"traceparent":
            return _trace_id(value.decode("latin-1"))
    return ""


def _trace_id(traceparent: str) -> str:
    """Return the trace in a header (https://www.w3.org/TR/trace-context/); empty if invalid."""
    match = TRACEPARENT.match(traceparent)
    return match[1] if match and match[1].strip("0") else ""
