"""What app.serve(log=...) sets up, and what it leaves to the app."""

import errno
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import pytest

from potassium.config import LogFormat
from potassium.errors import StreamBroken
from potassium.observe.logs.line_writer import LineWriter
from potassium.observe.logs.process_log import process_log
from potassium.serving.leftovers import flush, say_last
from potassium.serving.log_config import set_up_logging

LOGGERS = (
    *("", "potassium", "potassium.access", "app"),
    *("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "py.warnings"),
)
HOOKS = ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook"))


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator["Process"]:
    """Yield a process without logging; put all back at the end."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(one.handlers[:], one.filters[:], one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.handlers, one.filters, one.propagate = [], [], True
        one.setLevel(logging.WARNING if one is loggers[0] else logging.NOTSET)
    for module, name in HOOKS:
        monkeypatch.setattr(module, name, getattr(module, f"__{name}__"))
    try:
        yield Process(StringIO())
    finally:
        logging.captureWarnings(capture=False)
        if (writer := process_log()) is not None:
            writer.close()
        for one, (handlers, filters, level, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.filters, one.propagate = handlers, filters, propagate
            one.setLevel(level)


class Process:
    """The log of a process that has set up ``log="json"``."""

    def __init__(self, stderr: StringIO) -> None:
        self.stderr = stderr

    def set_up(
        self,
        level: int | None = None,
        how: LogFormat | None = "json",
        *,
        use_colors: bool | None = None,
    ) -> None:
        """Set up logging as in a process where pytest is not."""
        self.unset()
        with redirect_stderr(self.stderr):
            set_up_logging(level, use_colors=use_colors, how=how)

    def unset(self) -> None:
        """Take off what pytest has put on the root logger."""
        root = logging.getLogger()
        root.handlers = [one for one in root.handlers if "pytest" not in type(one).__module__]

    def lines(self) -> list[dict[str, Any]]:
        flush()
        return [json.loads(line) for line in self.stderr.getvalue().splitlines()]

    def said(self) -> list[str]:
        return [f"{line['logger']}|{line['message']}" for line in self.lines()]


class Sink(logging.StreamHandler[StringIO]):
    """A handler of the app's own, with a format of its own."""

    def __init__(self) -> None:
        super().__init__(StringIO())
        self.setFormatter(logging.Formatter("own|%(name)s|%(message)s"))

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def say() -> None:
    for name in ("potassium", "potassium.access", "uvicorn.error", "app"):
        logging.getLogger(name).info("hello")


def test_lines_of_all_loggers_are_json(process: Process) -> None:
    """Ours, uvicorn's and the app's own, each once, from INFO on."""
    process.set_up()
    say()
    logging.getLogger("app").debug("too quiet")
    said = ["potassium|hello", "potassium.access|hello", "uvicorn.error|hello", "app|hello"]
    assert process.said() == said


def test_they_are_set_up_once(process: Process) -> None:
    """A second ``app.serve()`` of a process writes no line twice."""
    process.set_up()
    process.set_up()
    say()
    assert logging.getLogger().handlers == [process_log()]
    assert len(process.lines()) == 4


def test_the_level_counts_for_all(process: Process) -> None:
    """``log_level=`` is that of the app's loggers too."""
    process.set_up(logging.WARNING)
    say()
    logging.getLogger("app").warning("loud enough")
    assert process.said() == ["app|loud enough"]


def test_levels_that_the_app_has_set_stay(process: Process) -> None:
    """Unless ``log_level=`` says otherwise."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("potassium").setLevel(logging.ERROR)
    process.set_up()
    logging.getLogger("app").warning("too quiet")
    logging.getLogger("potassium.access").info("too quiet")
    assert process.lines() == []


def test_clients_of_http_do_not_log_their_urls(process: Process) -> None:
    """Webhooks are posted with httpx, which would log each, and its URL may hold a secret."""
    process.set_up()
    logging.getLogger("httpx").info("HTTP Request: POST https://example.com/?token=secret")
    assert process.lines() == []


def test_handlers_on_root_get_all_lines(process: Process) -> None:
    """In their own format, and nothing is written beside them; a warning says so."""
    sink = Sink()
    logging.getLogger().handlers = [sink]
    process.set_up()
    logging.getLogger("potassium.access").info("hello")
    assert logging.getLogger().handlers == [sink]
    warning, line = sink.lines
    assert 'log="json" is not applied' in warning
    assert "Sink" in warning
    assert line == "own|potassium.access|hello"
    assert process.lines() == []


@pytest.mark.parametrize("name", ["potassium", "uvicorn", "app"])
def test_handlers_on_other_loggers_stay(process: Process, name: str) -> None:
    """They get the lines of their logger, which are written to stderr as well."""
    sink = Sink()
    logging.getLogger(name).addHandler(sink)
    process.set_up()
    logging.getLogger(name).info("hello")
    assert sink.lines == [f"own|{name}|hello"]
    assert process.said() == [f"{name}|hello"]


def test_a_logger_that_does_not_propagate_is_left_alone(process: Process) -> None:
    """Its lines are where the app has put them."""
    sink, ours = Sink(), logging.getLogger("potassium")
    ours.addHandler(sink)
    ours.propagate = False
    process.set_up()
    ours.info("hello")
    assert sink.lines == ["own|potassium|hello"]
    assert process.lines() == []


@pytest.mark.parametrize("how", [None, "json", "text"])
def test_a_process_without_stdout_and_stderr_can_log(
    process: Process, monkeypatch: pytest.MonkeyPatch, how: LogFormat | None
) -> None:
    """Its lines go nowhere, and it serves."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    process.unset()
    set_up_logging(None, how=how)
    say()
    flush()


def test_warnings_are_lines(process: Process) -> None:
    """With the place that they are about."""
    process.set_up()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = process.lines()
    assert (line["logger"], line["level"]) == ("py.warnings", "WARNING")
    assert "test_process_log.py" in line["message"]


class Unraisable:
    def leave(self) -> None:
        """Be deleted at the end of this, with an exception that nothing can be raised into."""

    def __del__(self) -> None:
        raise ValueError


def test_exceptions_that_nobody_catches_are_lines(process: Process) -> None:
    """On the main thread, on others, and where they cannot be raised."""
    process.set_up()
    error = ValueError("no")
    sys.excepthook(ValueError, error, None)
    thread = threading.Thread(target=[].pop, name="mine")
    thread.start()
    thread.join()
    Unraisable().leave()
    assert process.said()[:2] == [
        "potassium|the process ends: no",
        "potassium|thread mine ended: pop from empty list",
    ]
    assert "exception ignored in: <function Unraisable.__del__" in process.said()[2]
    assert all("Error" in line["exception"] for line in process.lines())


def test_an_interruption_is_no_line(process: Process) -> None:
    """Somebody has pressed Ctrl-C; and a thread that exits has not failed."""
    process.set_up()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()
    assert process.lines() == []


def test_hooks_of_the_apps_own_stay(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reporter of errors sets them."""

    def own(*_: Any) -> None: ...

    for module, name in HOOKS:
        monkeypatch.setattr(module, name, own)
    process.set_up()
    assert all(getattr(module, name) is own for module, name in HOOKS)


def test_a_stream_that_was_broken_on_purpose_is_told_once(process: Process) -> None:
    """We have logged why; the server's traceback of it says nothing more."""
    process.set_up()
    error = StreamBroken("slow")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    assert process.lines() == []


@pytest.mark.parametrize(("use_colors", "coloured"), [(True, True), (False, False), (None, False)])
def test_text_is_coloured_on_terminals_or_where_that_is_asked_for(
    process: Process, monkeypatch: pytest.MonkeyPatch, use_colors: bool | None, coloured: bool
) -> None:
    """``use_colors=`` comes before the environment, and that before the terminal."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    process.set_up(None, "text", use_colors=use_colors)
    say()
    flush()
    assert ("\x1b[32mINFO" in process.stderr.getvalue()) is coloured


def test_the_last_line_has_the_format_of_all(process: Process) -> None:
    """That of a signal handler, which logging itself could block."""
    process.set_up()
    say_last("the end")
    assert process.said() == ["potassium|the end"]


def test_without_a_format_the_last_line_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was."""
    written = []
    monkeypatch.setattr(os, "write", lambda fd, data: written.append((fd, data)))
    say_last("the end")
    assert written == [(2, b"the end\n")]


def test_a_last_line_that_nobody_gets_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal handler that says it must end the process, whatever became of stderr."""

    def fail(*_: Any) -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(os, "write", fail)
    say_last("terminated immediately")


def test_plain_logs_are_not_ours(process: Process) -> None:
    """Without ``log=``, there is no thread that writes, and no hook."""
    process.set_up(None, None)
    assert process_log() is None
    assert not any(
        isinstance(handler, LineWriter)
        for name in LOGGERS
        for handler in logging.getLogger(name).handlers
    )
    assert sys.excepthook is sys.__excepthook__
