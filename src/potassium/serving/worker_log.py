"""The log of a worker process: its lines look like those of the front, and name the worker."""

import logging
import sys
from contextlib import AbstractContextManager
from typing import TypedDict

from potassium.config import LogFormat
from potassium.observe.logs.json_lines import JsonLines
from potassium.observe.logs.process_log import process_log
from potassium.observe.logs.text_lines import TextLines
from potassium.serving.line_limit import OURS, LineLimit
from potassium.serving.whole_lines import print_whole_lines

__all__ = ["LogSetup", "log_like", "log_of_front"]


class LogSetup(TypedDict):
    """How a process logs, for another one to do the same.

    Attributes:
        is_ours: whether ``set_up_logging`` has set it up; otherwise, the app or nobody has.
        how: the format of all lines; None for plain ones.
        use_colors: whether levels are coloured.
        levels: those that loggers have, by name; the root logger's name is empty.
        lock: the file that is locked while a line is written; None if none is.

    """

    is_ours: bool
    how: LogFormat | None
    use_colors: bool
    levels: dict[str, int]
    lock: int | None


def log_of_front() -> LogSetup:
    """Return how this process logs."""
    found = LogSetup(is_ours=False, how=None, use_colors=False, levels=_levels(), lock=None)
    writer = process_log()
    if writer is not None:
        formatter = writer.formatter
        found["is_ours"] = True
        found["how"] = "json" if isinstance(formatter, JsonLines) else "text"
        found["use_colors"] = isinstance(formatter, TextLines) and formatter.has_colours
        found["lock"] = writer.share()
    elif "uvicorn.logging" in sys.modules:
        from uvicorn.logging import DefaultFormatter  # noqa: PLC0415 - its server has imported it

        for handler in logging.getLogger("potassium").handlers:
            if isinstance(handler.formatter, DefaultFormatter):
                found["is_ours"] = True
                found["use_colors"] = handler.formatter.use_colors
    return found


def log_like(front: LogSetup, worker: str) -> AbstractContextManager[None]:
    """Set up the log of this process as ``front`` says; return a context that limits its lines.

    The app has been imported, and what it has set up itself stays. Lines in a format of ours have
    the name of the worker.
    """
    print_whole_lines()
    if front["is_ours"]:
        from potassium.serving.log_config import set_up_logging  # noqa: PLC0415 - imports uvicorn

        set_up_logging(None, use_colors=front["use_colors"], how=front["how"])
    for name, level in front["levels"].items():
        logging.getLogger(name).setLevel(level)
    if (writer := process_log()) is not None:
        writer.addFilter(_Named(worker))
        if front["lock"] is not None:
            writer.take_turns(front["lock"])
    return LineLimit().on(*OURS)


class _Named(logging.Filter):
    """Adds the name of this worker to each record."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "worker"):
            record.worker = self._worker
        return True


def _levels() -> dict[str, int]:
    root = logging.getLogger()
    known = {"": root.level}
    for name, one in list(root.manager.loggerDict.items()):
        if isinstance(one, logging.Logger) and one.level != logging.NOTSET:
            known[name] = one.level
    return known
