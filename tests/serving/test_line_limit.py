"""A log that grows by a bounded number of lines, and says what it left out."""

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from potassium import Potassium
from potassium.observe.logs.json_lines import JsonLines
from potassium.observe.logs.text_lines import TextLines
from potassium.serving.line_limit import FIRST, KINDS, OURS, PAUSE, LineLimit
from potassium.testing import client

logger = logging.getLogger("potassium")


class Time:
    """A clock and the timers on it, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now

    def timer(self, seconds: float, call: Callable[[], None]) -> Any:
        entry, timers = (self.now + seconds, call), self.timers

        class Timer(threading.Thread):
            def start(self) -> None:
                timers.append(entry)

            def cancel(self) -> None:
                if entry in timers:
                    timers.remove(entry)

        return Timer()

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for entry in [one for one in self.timers if one[0] <= self.now]:
            self.timers.remove(entry)
            entry[1]()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def lines(time: Time, caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Return the list that the lines of the logger ``potassium`` come to, with a limit on it."""
    caplog.set_level(logging.INFO, logger="potassium")
    with LineLimit(time.clock, time.timer).on("potassium"):
        yield Messages(caplog)


class Messages(list[str]):
    """What was logged, always up to date."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        super().__init__()
        self._caplog = caplog

    def take(self) -> list[str]:
        messages = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return messages


def test_the_first_lines_of_a_kind_are_all_written(lines: Messages) -> None:
    """Nothing is lost of a fault that shows a few times."""
    for number in range(FIRST):
        logger.error("call %d failed", number)
    assert lines.take() == [f"call {number} failed" for number in range(FIRST)]


def test_lines_of_a_kind_beyond_the_first_are_counted_and_told(lines: Messages, time: Time) -> None:
    """What was left out is told with a line that shows what it was, also if nothing follows."""
    for number in range(1000):
        logger.error("call %d failed", number)
    assert len(lines.take()) == FIRST
    time.pass_by(PAUSE)
    told = f"{1000 - FIRST} more lines like this were left out: call 0 failed"
    assert lines.take() == [told]


def test_a_flood_that_goes_on_grows_by_two_lines_in_ten_seconds(
    lines: Messages, time: Time
) -> None:
    """One of the kind, and one that counts the rest."""
    for number in range(60 * 100):
        logger.error("call %d failed", number)
        time.pass_by(0.01)
    written = lines.take()
    assert len(written) <= FIRST + 2 * 60 / PAUSE
    counted = [int(line.split()[0]) for line in written if "left out" in line]
    time.pass_by(PAUSE)
    counted += [int(line.split()[0]) for line in lines.take()]
    assert sum(counted) + len([line for line in written if "left out" not in line]) == 60 * 100


@pytest.mark.parametrize("own", [logging.Formatter(), JsonLines(), TextLines()], ids=type)
def test_a_line_is_of_bounded_size(
    caplog: pytest.LogCaptureFixture, own: logging.Formatter
) -> None:
    """A client may have sent the text of an exception; both ends of the traceback stay."""
    with LineLimit().on("potassium"):
        try:
            os.environ["x" * 2_000_000]
        except KeyError as error:
            logger.exception("failed", exc_info=error)
            logger.exception("failed", exc_info=KeyError("short"))
    long, short = map(own.format, caplog.records)
    assert len(long) < 60_000
    assert "in test_a_line_is_of_bounded_size" in long
    assert re.search(r"\.\.\. \d{7} characters were left out \.\.\.", long)
    assert "xxx'" in long[-10:]
    assert "left out" not in short


def test_one_kind_of_line_does_not_crowd_out_another(lines: Messages) -> None:
    """Each handler, and each exception at a place of its own, has lines of its own."""
    for _ in range(100):
        logger.error("%s failed", "/a", extra={"handler": "/a"})
        logger.error("%s failed", "/b", extra={"handler": "/b"})
        for fault in (partial(int, "x"), partial(divmod, 1, 0)):
            try:
                fault()
            except (ValueError, ZeroDivisionError):
                logger.exception("it raised")
        try:
            int("y")
        except ValueError:
            logger.exception("it raised")
    written = lines.take()
    assert written.count("/a failed") == written.count("/b failed") == FIRST
    assert written.count("it raised") == 3 * FIRST


def test_a_kind_that_was_quiet_begins_anew(lines: Messages, time: Time) -> None:
    """The next fault of the kind is shown as the first one was."""
    for _ in range(2 * FIRST):
        logger.error("it failed")
    lines.take()
    time.pass_by(FIRST * PAUSE)
    lines.take()
    for _ in range(FIRST):
        logger.error("it failed")
    assert lines.take() == ["it failed"] * FIRST


def test_kinds_without_end_share_one_allowance(lines: Messages, time: Time) -> None:
    """Neither the log nor memory grows with what somebody else can choose the text of."""
    for number in range(10 * KINDS):
        logger.error(f"{number} failed")  # noqa: G004
    assert len(lines.take()) == KINDS + FIRST
    time.pass_by(FIRST * PAUSE)
    lines.take()
    logger.error("something new failed")
    assert lines.take() == ["something new failed"]


def test_lines_below_a_warning_are_not_counted(lines: Messages) -> None:
    """They are not what an attack causes."""
    for _ in range(100):
        logger.info("as asked for")
    assert len(lines.take()) == 100


def test_what_was_left_out_is_told_at_the_end(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    """The end of the server comes before the pause is over; no filter stays behind."""
    with LineLimit(time.clock, time.timer).on("potassium"):
        for _ in range(100):
            logger.error("it failed")
        caplog.clear()
    assert [one.getMessage() for one in caplog.records] == [
        f"{100 - FIRST} more lines like this were left out: it failed"
    ]
    assert logger.filters == []
    assert time.timers == []


async def test_a_handler_that_fails_on_each_call_fills_no_log(
    app: Potassium, caplog: pytest.LogCaptureFixture
) -> None:
    """The first tracebacks are there, the rest is counted, whoever serves the app."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise ValueError("no")

    async with client(app) as http:
        for _ in range(3 * FIRST):
            assert (await http.post("/", json={})).status_code == 500
        assert len([one for one in caplog.records if one.exc_info]) == FIRST
    left_out = [one for one in caplog.records if hasattr(one, "left_out")]
    assert [(vars(one)["left_out"], vars(one)["handler"]) for one in left_out] == [(2 * FIRST, "/")]
    assert [logging.getLogger(name).filters for name in OURS] == [[], [], []]
