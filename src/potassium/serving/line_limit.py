"""Keeps the log of a server that fails on each call, or is attacked, from growing without end."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["OURS", "LineLimit"]

OURS = ("potassium", "potassium.jobs", "potassium.webhooks")

FIRST = 50  # lines of a kind that are all written
PAUSE = 10.0  # seconds in which a kind gets the next line, once these are used up
LONGEST = 300  # characters of a line that are repeated when others like it are counted
KINDS = 256  # further kinds share one allowance
FORMATTER = logging.Formatter()

Kind = tuple[object, ...]


class _Outline:
    """What is told of lines that were left out; nothing of it refers to a call."""

    __slots__ = ("extra", "level", "logger", "text")

    def __init__(self, record: logging.LogRecord) -> None:
        handler = getattr(record, "handler", None)
        self.logger = record.name
        self.level = record.levelno
        self.text = record.getMessage().strip()[:LONGEST]
        self.extra = {} if handler is None else {"handler": handler}


class _Allowance:
    """How many lines of one kind may be written now, and how many were left out."""

    __slots__ = ("at", "left", "missing", "outline")

    def __init__(self, record: logging.LogRecord, now: float) -> None:
        self.left: float = FIRST
        self.at = now
        self.missing = 0
        self.outline = _Outline(record)

    def refill(self, now: float) -> None:
        self.left = min(self.left + (now - self.at) / PAUSE, FIRST)
        self.at = now


class LineLimit(logging.Filter):
    """Passes the first lines of each kind, then one every ten seconds; counts those left out.

    Lines are of one kind if they have the logger, the level, the text before formatting and the
    handler in common, and the type and the place of the exception. Only warnings and errors count;
    all below passes. A kind that has been quiet for a while begins anew. Of a traceback that is
    very long, the middle is left out.

    May be called on any thread.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[[float, Callable[[], None]], threading.Timer] = threading.Timer,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._new_timer = timer
        self._timer: threading.Timer | None = None  # only while lines are left out
        self._lock = threading.Lock()
        self._kinds: dict[Kind, _Allowance] = {}

    @contextmanager
    def on(self, *names: str) -> Iterator[None]:
        """Limit the loggers of these names until the context exits."""
        loggers = [logging.getLogger(name) for name in names]
        for logger in loggers:
            logger.addFilter(self)
        try:
            yield
        finally:
            self.tell()
            for logger in loggers:
                logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` is to be written."""
        if record.levelno < logging.WARNING or hasattr(record, "left_out"):
            return True
        kind, now = _kind_of(record), self._clock()
        with self._lock:
            allowance = self._allowance(kind, record, now)
            if allowance.left >= 1:
                allowance.left -= 1
            else:
                allowance.missing += 1
                if self._timer is None:
                    self._timer = self._new_timer(PAUSE, self.tell)
                    self._timer.daemon = True
                    self._timer.start()
                return False
        if record.exc_info:
            _shorten(record)
        return True

    def _allowance(self, kind: Kind, record: logging.LogRecord, now: float) -> _Allowance:
        allowance = self._kinds.get(kind)
        if allowance is None and len(self._kinds) >= KINDS:
            for known, one in list(self._kinds.items()):
                one.refill(now)
                if one.left >= FIRST and not one.missing:
                    del self._kinds[known]
            kind = kind if len(self._kinds) < KINDS else ()
            allowance = self._kinds.get(kind)
        if allowance is None:
            allowance = self._kinds[kind] = _Allowance(record, now)
        allowance.refill(now)
        return allowance

    def tell(self) -> None:
        """Log how many lines of each kind were left out since this was last told."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            told = [(one.outline, one.missing) for one in self._kinds.values() if one.missing]
            for one in self._kinds.values():
                one.missing = 0
        for outline, missing in told:
            logging.getLogger(outline.logger).log(
                outline.level,
                "%d more lines like this were left out: %s",
                missing,
                outline.text,
                extra={"left_out": missing, **outline.extra},
            )


def _shorten(record: logging.LogRecord) -> None:
    """Have formatters write a very long traceback without its middle."""
    from potassium.observe.logs.visible import without_middle  # noqa: PLC0415 - only for errors

    whole = FORMATTER.formatException(record.exc_info)  # type: ignore[arg-type]  # it is not None
    if (text := without_middle(whole)) is not whole:
        record.exc_text = text  # formatters of logging take it as it is


def _kind_of(record: logging.LogRecord) -> Kind:
    kind: list[object] = [record.name, record.levelno, str(record.msg)]
    kind.append(getattr(record, "handler", None))
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        kind.append(type(error))
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            kind += trace.tb_frame.f_code.co_filename, trace.tb_lineno
    return tuple(kind)
