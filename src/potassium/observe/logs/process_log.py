"""Sets up the log of a process that only serves: all of its lines in one format."""

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType

from potassium.config import LogFormat
from potassium.observe.logs.fields import CallIds
from potassium.observe.logs.json_lines import JsonLines
from potassium.observe.logs.line_writer import LineWriter
from potassium.observe.logs.text_lines import TextLines, wants_colours

__all__ = ["process_log", "set_up_process_log"]

# Our webhooks are sent with it: it would log their URLs, which may hold secrets, for each delivery.
TALKATIVE = ("httpx", "httpcore")

logger = logging.getLogger("potassium")


def set_up_process_log(
    how: LogFormat,
    level: int | None,
    *,
    use_colors: bool | None = None,
    passes: Callable[[logging.LogRecord], bool] = lambda _: True,
) -> None:
    """Write the lines of all loggers to stderr; the app has given the root logger no handlers.

    Handlers that the app has put on other loggers stay, and get the same lines as before. A logger
    that the app keeps from propagating is left alone.

    Args:
        how: the format.
        level: that of the root logger and ours; None for INFO, or what the app has set.
        use_colors: whether text is coloured; None for what the environment or the terminal says.
        passes: returns whether a record is written.

    """
    root = logging.getLogger()
    for one in (root, logger, *map(logging.getLogger, ("uvicorn", "uvicorn.error"))):
        has_none = one.level == (logging.WARNING if one is root else logging.NOTSET)
        if level is not None or has_none:
            one.setLevel(level or logging.INFO)
    for one in map(logging.getLogger, TALKATIVE):
        if one.level == logging.NOTSET:
            one.setLevel(logging.WARNING)
    if use_colors is None:
        use_colors = wants_colours(sys.stderr)
    formatter = JsonLines() if how == "json" else TextLines(colours=use_colors)
    if (former := process_log()) is not None:  # of an app.serve() before this one
        root.removeHandler(former)
        former.close()
    writer = LineWriter(sys.stderr, formatter)
    writer.addFilter(CallIds())
    writer.addFilter(passes)
    root.addHandler(writer)
    logging.captureWarnings(capture=True)
    if how == "json":
        _log_what_nobody_catches()


def process_log() -> LineWriter | None:
    """Return what writes the lines of this process, if that is ours."""
    writers = [one for one in logging.getLogger().handlers if isinstance(one, LineWriter)]
    return writers[0] if writers else None


def _log_what_nobody_catches() -> None:
    """Log exceptions that end a thread, instead of printing their tracebacks."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _end_of_process
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _end_of_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _nowhere_to_raise


def _end_of_process(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("the process ends: %s", error, exc_info=(kind, error, trace))


def _end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is None or issubclass(ended.exc_type, SystemExit):
        return
    told = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    name = "?" if ended.thread is None else ended.thread.name
    logger.error("thread %s ended: %s", name, ended.exc_value, exc_info=told)


def _nowhere_to_raise(found: "sys.UnraisableHookArgs") -> None:
    if found.exc_value is not None:
        told = (found.exc_type, found.exc_value, found.exc_traceback)
        where = found.err_msg or "exception ignored in"
        logger.error("%s: %r", where, found.object, exc_info=told)
