"""How a server of its own logs, if the app has set up nothing else."""

import logging
import sys

from uvicorn.logging import (
    TRACE_LOG_LEVEL,
    AccessFormatter,
    ColourizedFormatter,
    DefaultFormatter,
)

from potassium.config import LogFormat
from potassium.errors import StreamBroken, UsageError
from potassium.observe.logs.line_writer import LineWriter, Stream
from potassium.observe.logs.process_log import set_up_process_log
from potassium.observe.logs.text_lines import wants_colours
from potassium.serving.own_loggers import enable_own_loggers
from potassium.serving.whole_lines import print_whole_lines

__all__ = ["level_of", "set_up_logging"]

LINE = "%(asctime)s %(levelprefix)s %(message)s"
ACCESS_LINE = '%(asctime)s %(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'


def level_of(log_level: str | int | None) -> int | None:
    """Return the number of a level, given by number or by a name that ``logging`` knows.

    ``"warn"``, ``"WARNING"``, ``"30"`` and 30 mean the same.

    Raises:
        UsageError: there is no such level.

    """
    if log_level is None:
        return None
    if isinstance(log_level, str):
        name = log_level.strip().upper()
        known = {**logging.getLevelNamesMapping(), "TRACE": TRACE_LOG_LEVEL}
        level = int(name) if name.isascii() and name.isdigit() else known.get(name)
    else:
        level = log_level if type(log_level) is int else None
    if level is None:
        raise UsageError(
            f'serve(log_level={log_level!r}): write "debug", "info", "warning", "error", '
            '"critical", or a number of logging, such as logging.WARNING.'
        )
    return level


def set_up_logging(
    level: int | None, *, use_colors: bool | None = None, how: LogFormat | None = None
) -> None:
    """Write our lines and uvicorn's as uvicorn does, with timestamps, unless the app does.

    A logger that the app has given handlers keeps them, and gets no others. If the root logger has
    handlers, they get all lines. ``logging.config`` is not used: it closes all handlers that there
    are, and takes those off that are on loggers below the ones that it is given.

    Args:
        level: that of our lines; None for INFO, or what the app has set.
        use_colors: whether the level is coloured; None for what the environment or the terminal
            says.
        how: the format of the lines of all loggers; None to write only ours and uvicorn's.

    """
    print_whole_lines()
    enable_own_loggers()
    root, ours = logging.getLogger(), logging.getLogger("potassium")
    if how is not None and all(isinstance(one, LineWriter) for one in root.handlers):
        set_up_process_log(how, level, use_colors=use_colors, passes=_was_not_told)
        return
    if not ours.hasHandlers():
        ours.setLevel(level or logging.INFO)
        _write(ours, _handler(DefaultFormatter, LINE, sys.stderr, use_colors=use_colors))
    elif level is not None or (ours.level == logging.NOTSET and _has_no_level(root, ours)):
        ours.setLevel(level or logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.INFO)
    for name, formatter, line, stream in (
        ("uvicorn", DefaultFormatter, LINE, sys.stderr),
        ("uvicorn.access", AccessFormatter, ACCESS_LINE, sys.stdout),
    ):
        logger = logging.getLogger(name)
        if not logger.handlers and not root.handlers:
            _write(logger, _handler(formatter, line, stream, use_colors=use_colors))
    if how is not None:
        ours.warning(
            'log="%s" is not applied: the app has given the root logger handlers of its own (%s), '
            "which write all lines",
            how,
            ", ".join(sorted({type(one).__name__ for one in root.handlers})),
        )


def _handler(
    formatter: type[ColourizedFormatter], line: str, stream: Stream, *, use_colors: bool | None
) -> logging.Handler:
    if use_colors is None:
        use_colors = wants_colours(stream)
    handler = logging.NullHandler() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(formatter(line, use_colors=use_colors))
    handler.addFilter(_was_not_told)
    return handler


def _write(logger: logging.Logger, handler: logging.Handler) -> None:
    """Let ``handler`` write what comes to ``logger``, and nothing else do."""
    logger.addHandler(handler)
    logger.propagate = False


def _has_no_level(root: logging.Logger, ours: logging.Logger) -> bool:
    """Return whether the app seems to have set no level that applies to ``ours``.

    WARNING is what the root logger has if nobody sets it.
    """
    return bool(ours.handlers) or root.level == logging.WARNING


def _was_not_told(record: logging.LogRecord) -> bool:
    """Drop the server's record of a stream that was broken on purpose: we logged it already."""
    return not (record.exc_info and isinstance(record.exc_info[1], StreamBroken))
