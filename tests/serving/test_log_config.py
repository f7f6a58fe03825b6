"""What a server of its own sets up of logging, and what it leaves to the app."""

import logging
import logging.config
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from potassium import UsageError
from potassium.serving.log_config import level_of, set_up_logging

LOGGERS = ("", "potassium", "potassium.jobs", "uvicorn", "uvicorn.error", "uvicorn.access")


@contextmanager
def new_process() -> Iterator[logging.Logger]:
    """Yield a root logger as in a new process, and put all back at the end."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(one.handlers[:], one.filters[:], one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.handlers, one.filters, one.propagate = [], [], True
        one.setLevel(logging.WARNING if one is loggers[0] else logging.NOTSET)
    try:
        yield loggers[0]
    finally:
        for one, (handlers, filters, level, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.filters, one.propagate = handlers, filters, propagate
            one.setLevel(level)


class Sink(logging.StreamHandler[StringIO]):
    """A handler of the app's own, with a format of its own."""

    def __init__(self) -> None:
        super().__init__(StringIO())
        self.setFormatter(logging.Formatter("own|%(name)s|%(message)s"))

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def set_up(log_level: Any = None) -> None:
    set_up_logging(level_of(log_level))


def say() -> None:
    logging.getLogger("potassium").info("ours")
    logging.getLogger("uvicorn.error").info("its")


@pytest.mark.parametrize("given", ["warn", "WARN", "warning", "Warning", "WARNING", 30, "30"])
def test_a_level_is_given_as_logging_knows_it(given: Any) -> None:
    """By any of its names, in upper or lower case, or by its number."""
    assert level_of(given) == logging.WARNING


def test_a_level_of_uvicorns_own_is_one_too() -> None:
    """uvicorn has one below ``DEBUG``."""
    assert level_of("trace") == 5


@pytest.mark.parametrize("given", ["loud", "", 1.5, True])
def test_a_level_that_is_none_is_an_error(given: Any) -> None:
    """The message names those that there are."""
    with pytest.raises(UsageError, match=r'log_level=.*"warning"'):
        level_of(given)


def test_without_handlers_of_the_app_lines_have_time_and_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Our lines and uvicorn's go to stderr, in uvicorn's format with the time before it."""
    with new_process():
        set_up()
        set_up()  # a second app.serve() of a process
        say()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2:] for line in lines] == [["INFO:", "ours"], ["INFO:", "its"]]


def test_loggers_that_were_disabled_are_on_before_the_log_is_set_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is said of the set-up must not be lost either."""
    monkeypatch.setattr(logging.getLogger("potassium"), "disabled", True)
    with new_process():
        sink = Sink()
        logging.basicConfig(handlers=[sink])
        set_up_logging(None, how="json")
    assert 'log="json" is not applied' in sink.lines[-1]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_plain_lines_are_coloured_where_stderr_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    """Wherever stdout goes; not with ``NO_COLOR``."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.delenv("TERM", raising=False)
    with new_process():
        monkeypatch.setattr(sys, "stdout", StringIO())
        monkeypatch.setattr(sys, "stderr", stderr := Terminal())
        set_up()
        say()
    assert ("\x1b[" in stderr.getvalue()) is not bool(no_color)


def test_a_log_handler_on_potassium_gets_our_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """It stays, keeps its format, and is the only one that writes them."""
    with new_process():
        sink = Sink()
        logging.getLogger("potassium").addHandler(sink)
        set_up()
        say()
    assert sink.lines == ["own|potassium|ours"]
    assert "ours" not in capsys.readouterr().err


def test_a_log_handler_on_root_gets_all_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours and uvicorn's, each once, in the app's format; nothing is written beside it."""
    with new_process() as root:
        sink = Sink()
        logging.basicConfig(handlers=[sink])
        set_up()
        say()
        logging.getLogger("uvicorn.access").info("access")
        assert root.handlers == [sink]
    assert sink.lines == [
        "own|potassium|ours",
        "own|uvicorn.error|its",
        "own|uvicorn.access|access",
    ]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", LOGGERS[1:])
def test_a_log_handler_of_the_apps_stays_on_any_logger(name: str, tmp_path: Path) -> None:
    """It stays open, too: a file that is written from its beginning is one example."""
    with new_process():
        file = tmp_path / "own.log"
        own = logging.FileHandler(file, mode="w")
        logging.getLogger(name).addHandler(own)
        set_up()
        assert own in logging.getLogger(name).handlers
        logging.getLogger(name).warning("a line")
        own.close()
    assert file.read_text() == "a line\n"


def test_a_logging_configuration_of_the_apps_own_decides() -> None:
    """``logging.config`` with levels of its own: those apply."""
    with new_process():
        sink = Sink()
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"own": {"()": lambda: sink}},
                "root": {"handlers": ["own"], "level": "ERROR"},
                "loggers": {"potassium.jobs": {"level": "WARNING"}},
            }
        )
        set_up()
        logging.getLogger("potassium").warning("too quiet")
        logging.getLogger("potassium").error("loud enough")
        assert logging.getLogger("potassium.jobs").level == logging.WARNING
    assert sink.lines == ["own|potassium|loud enough"]


def test_a_level_that_serve_is_given_counts_for_the_apps_handlers_too() -> None:
    """``log_level=`` is said by the same app, and later."""
    with new_process():
        sink = Sink()
        logging.basicConfig(handlers=[sink], level="ERROR")
        set_up("info")
        say()
    assert "own|potassium|ours" in sink.lines
