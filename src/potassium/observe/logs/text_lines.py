"""Log records as text, for people."""

import logging
import os
from typing import TextIO

from potassium.observe.logs.fields import is_traceback
from potassium.observe.logs.visible import one_line, several_lines, without_middle

__all__ = ["TextLines", "wants_colours"]

COLOURS = {
    logging.DEBUG: "36",  # cyan
    logging.INFO: "32",  # green
    logging.WARNING: "33",  # yellow
    logging.ERROR: "31",  # red
    logging.CRITICAL: "1;31",
}
IDS = ("request_id", "job_id", "worker")
NAMELESS = ("potassium", "uvicorn")  # loggers whose lines say what they are about
SERVER_ERROR, CLIENT_ERROR = 500, 400


class TextLines(logging.Formatter):
    """Formats a record as one line: time, level, message, the ids of its call, and its worker.

    A traceback follows it, indented. The time is local, as in every plain log.

    Args:
        colours: whether the level, and the line of a call that failed, are coloured.

    Attributes:
        has_colours: whether they are.

    """

    def __init__(self, *, colours: bool = False) -> None:
        super().__init__()
        self.has_colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``, without the line break at its end."""
        message = record.getMessage().rstrip("\n")
        rest = [message] if is_traceback(message) else []
        line = one_line(message.rpartition("\n")[2] if rest else message)
        if record.name.partition(".")[0] not in NAMELESS:
            line = f"{record.name}: {line}"
        for name in IDS:
            value = getattr(record, name, None)
            if value and str(value) not in message:
                line += f" {name}={one_line(str(value))}"
        if record.exc_info:
            rest.append(without_middle(self.formatException(record.exc_info)))
        if record.stack_info:
            rest.append(self.formatStack(record.stack_info))
        level = f"{record.levelname}:"
        padded = f"{level:<9}"
        if self.has_colours:
            padded = (
                _coloured(record.levelname, COLOURS.get(record.levelno, "0"))
                + padded[len(record.levelname) :]
            )
            line = _coloured(line, _colour_of(record))
        return "\n".join([f"{self.formatTime(record)} {padded} {line}", *map(several_lines, rest)])


def wants_colours(stream: TextIO | None) -> bool:
    """Return whether to colour what goes to ``stream``: whether it is a terminal.

    The environment overrides that, by https://no-color.org and https://force-color.org; where both
    are set, there are no colours, as with Python's own tracebacks.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _colour_of(record: logging.LogRecord) -> str:
    """Return the colour of the line of a call; other lines have none."""
    status = getattr(record, "status", 0)
    if type(status) is not int or status < CLIENT_ERROR:
        return ""
    return COLOURS[logging.ERROR if status >= SERVER_ERROR else logging.WARNING]


def _coloured(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text
