"""Log records as JSON, one object a line."""

import json
import logging
import time
from contextlib import suppress
from typing import Any

import orjson

from potassium.observe.logs.fields import is_traceback, own_fields
from potassium.observe.logs.visible import shown, unseen_in_json, without_middle

__all__ = ["JsonLines"]

OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object without line breaks.

    It has ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, and whatever was given as
    ``extra``; with an exception also ``exception``, the traceback, and with ``stack_info``
    ``stack``. A value that JSON does not have is shown by its ``repr()``. An ``extra`` with a name
    of ours gets ``extra_`` before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")  # the last one, and how it is written

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``, without the line break at its end."""
        message = record.getMessage()
        fields: dict[str, Any] = {
            "time": self._rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": message.rstrip("\n"),
        }
        if is_traceback(message):
            text = message.rstrip("\n")
            fields |= {"message": text.rpartition("\n")[2].strip(), "exception": text}
        if record.exc_info:
            fields["exception"] = without_middle(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        own = own_fields(record)
        if not fields.keys().isdisjoint(own):
            own = {f"extra_{name}" if name in fields else name: own[name] for name in own}
        return _json(fields | own)

    def _rfc3339(self, created: float) -> str:
        second = int(created)
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, text  # at once: a signal handler may format a line, too
        return f"{text}.{int((created - second) * 1000):03d}Z"


def _json(fields: dict[str, Any]) -> str:
    try:
        line = orjson.dumps(fields, shown, OPTIONS).decode()
    except TypeError:  # half of a surrogate pair, a circle, a number beyond 64 bits
        plain = {name: _plain(value) for name, value in fields.items()}
        return json.dumps(plain, separators=(",", ":"))
    return line if line.isascii() and "\x7f" not in line else unseen_in_json(line)


def _plain(value: object) -> object:
    with suppress(TypeError, ValueError, RecursionError):
        json.dumps(value, allow_nan=False)
        return value
    return shown(value)
