"""What a log record says beyond its text."""

import logging
import re
import sys
from typing import Any

from potassium.http.request import ids_of_call

__all__ = ["CallIds", "is_traceback", "own_fields"]

# What logging itself puts into a record, and uvicorn, which repeats the message with colours.
KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "color_message",
    "message",
    "taskName",
}
TRACING = "opentelemetry.trace"  # looked at if somebody has imported it
TRACEBACK = re.compile(r"\s*(\+ Exception Group )?Traceback \(most recent call last\):\n")


class CallIds(logging.Filter):
    """Adds the ids of the call that a record belongs to: what a handler logs is found by them.

    A record gets a ``request_id`` and, in a background job, a ``job_id``, if it was logged by a
    handler or a step of one. The handler of a batch serves several calls, so its lines have none.
    Inside of a span of OpenTelemetry, it gets a ``trace_id``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass every record."""
        request_id, job_id = ids_of_call()
        if request_id and not hasattr(record, "request_id"):
            record.request_id = request_id
        if job_id and not hasattr(record, "job_id"):
            record.job_id = job_id
        if TRACING in sys.modules and not hasattr(record, "trace_id"):
            span = sys.modules[TRACING].get_current_span().get_span_context()
            if span.is_valid:
                record.trace_id = f"{span.trace_id:032x}"
        return True


def own_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as ``extra`` when ``record`` was logged."""
    return {name: value for name, value in record.__dict__.items() if name not in KNOWN}


def is_traceback(message: str) -> bool:
    """Return whether a message is itself a traceback, as uvicorn's of a failed start is."""
    return TRACEBACK.match(message) is not None
