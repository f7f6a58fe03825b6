"""Log records as JSON, one object a line."""

import json
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from potassium.observe.logs.fields import is_traceback, own_fields
from potassium.observe.logs.visible import unseen_in_json

__all__ = ["JsonLines"]

OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
LONGEST = 10_000  # characters of a value that is shown by its repr()


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object without line breaks.

    It has ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, and whatever was given as
    ``extra``; with an exception also ``exception``, the whole traceback, and with ``stack_info``
    ``stack``. A value that JSON does not have is shown by its ``repr()``. An ``extra`` with a name
    of ours gets ``extra_`` before it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``, without the line break at its end."""
        message = record.getMessage()
        fields: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": message.rstrip("\n"),
        }
        if is_traceback(message):
            text = message.rstrip("\n")
            fields |= {"message": text.rpartition("\n")[2].strip(), "exception": text}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        for name, value in own_fields(record):
            fields[f"extra_{name}" if name in fields else name] = value
        return _json(fields)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _json(fields: dict[str, Any]) -> str:
    try:
        line = orjson.dumps(fields, _shown, OPTIONS).decode()
    except TypeError:  # half of a surrogate pair, a circle, a number beyond 64 bits
        return json.dumps({name: _plain(value) for name, value in fields.items()})
    return line if line.isascii() and "\x7f" not in line else unseen_in_json(line)


def _plain(value: object) -> object:
    with suppress(TypeError, ValueError, RecursionError):
        json.dumps(value, allow_nan=False)
        return value
    return _shown(value)


def _shown(value: object) -> str:
    """Return a value that JSON does not have as text."""
    try:
        return (str(value) if isinstance(value, BaseException) else repr(value))[:LONGEST]
    except Exception as error:  # noqa: BLE001 - of the app's __repr__
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"
