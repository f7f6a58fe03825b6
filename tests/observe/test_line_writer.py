"""Writing log lines on a thread, to readers that are slow, gone or strange."""

import errno
import logging
import os
import select
import threading
import time
from collections.abc import Iterator
from io import StringIO, TextIOWrapper
from typing import Any

import pytest

from potassium.observe.logs import line_writer
from potassium.observe.logs.line_writer import LineWriter

FORMAT = logging.Formatter("%(levelname)s %(message)s")


class Pipe:
    """A pipe that nobody reads until ``read`` is called, and a writer to it."""

    def __init__(self) -> None:
        self._read, written = os.pipe()
        self.stream: TextIOWrapper = os.fdopen(written, "w")
        self.writer = LineWriter(self.stream, FORMAT)

    def log(self, message: Any, *arguments: Any, level: int = logging.INFO) -> None:
        self.writer.handle(logging.LogRecord("app", level, "", 0, message, arguments, None))

    def fill(self) -> int:
        """Log more than the pipe holds until a line is left out; return how many were."""
        for count in range(10**6):
            self.log("%s", "x" * 1000)
            if self.writer._left_out:
                return count
        raise AssertionError

    def read(self, lines: int) -> list[str]:
        data = b""
        while data.count(b"\n") < lines:
            data += os.read(self._read, 65536)
        return data.decode().splitlines()

    def close(self) -> None:
        drain = threading.Thread(target=self._drain)
        drain.start()
        self.writer.close()
        self.writer._thread.join(10)
        self.stream.close()
        drain.join()
        os.close(self._read)

    def _drain(self) -> None:
        while os.read(self._read, 65536):
            pass


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    monkeypatch.setattr(line_writer, "LAST_MOMENTS", 0.05)
    pipe = Pipe()
    yield pipe
    pipe.close()
    assert not pipe.writer._thread.is_alive()


def test_lines_are_written_in_their_order(pipe: Pipe) -> None:
    """Each once, whoever logs them."""
    for number in range(1000):
        pipe.log("line %d", number)
    assert pipe.read(1000) == [f"INFO line {number}" for number in range(1000)]


def test_a_reader_that_does_not_read_blocks_nobody(pipe: Pipe) -> None:
    """Lines wait up to a bound; then they are left out, and the log says how many once it can."""
    count = pipe.fill()
    assert count * len(f"INFO {'x' * 1000}\n") > line_writer.MOST - 2000
    for _ in range(41):
        pipe.log("%s", "too late" * 200)
    lines = pipe.read(count + 1)
    assert lines[:count] == [f"INFO {'x' * 1000}"] * count
    assert lines[count].startswith("WARNING 42 log lines were left out")


def test_warnings_have_room_when_other_lines_have_none(pipe: Pipe) -> None:
    """Calls must not push out the reason why all of them fail."""
    count = pipe.fill()
    why = "why" * 1000
    pipe.log(why, level=logging.ERROR)
    assert f"ERROR {why}" in pipe.read(count + 2)


def test_a_flush_waits_for_all_lines(pipe: Pipe) -> None:
    """Those that were logged before it."""
    for _ in range(100):
        pipe.log("x")
    pipe.writer.flush()
    assert pipe.writer._taken == pipe.writer._added


def test_a_flush_does_not_wait_for_a_reader_that_takes_nothing(pipe: Pipe) -> None:
    """A process can end; a second flush knows, and does not wait at all."""
    pipe.fill()
    pipe.writer.flush()
    waited = []
    wait = pipe.writer._progress.wait_for
    pipe.writer._progress.wait_for = lambda *given: waited.append(given) or wait(*given)  # type: ignore[method-assign,func-returns-value]
    pipe.writer.flush()
    assert waited == []


def test_a_last_line_is_not_written_where_it_would_block(pipe: Pipe) -> None:
    """A second signal ends the process at once, also when nobody reads its log."""
    pipe.writer.write_now("first")
    assert pipe.read(1) == ["WARNING first"]
    pipe.fill()
    while select.select([], [pipe.stream], [], 0)[1]:
        time.sleep(0.001)
    pipe.writer.write_now("second")


def test_a_line_that_cannot_be_formatted_says_what_is_wrong(pipe: Pipe) -> None:
    """It is written in the log's format, not as a traceback to stderr."""
    pipe.log("%d calls", "many")
    line = pipe.read(1)[0]
    assert line == "ERROR this log line cannot be formatted: '%d calls'"


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize("arguments", [(Mute(),), ("%s", Mute())])
def test_what_cannot_be_shown_at_all_raises_nothing(pipe: Pipe, arguments: Any) -> None:
    """A log line must not break the call that writes it."""
    pipe.log(*arguments)
    assert pipe.read(1)[0].startswith("ERROR this log line cannot be formatted: ")


def test_a_stream_without_a_descriptor_is_written_too() -> None:
    """A notebook's stderr has none."""
    stream = StringIO()
    writer = LineWriter(stream, FORMAT)
    writer.handle(logging.LogRecord("app", logging.INFO, "", 0, "hello", (), None))
    writer.close()
    assert stream.getvalue() == "INFO hello\n"


def test_the_end_waits_for_what_the_thread_has_yet_to_say(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many lines were left out; afterwards, the stream may be closed."""
    said: list[str] = []

    def tell() -> None:
        time.sleep(0.02)
        said.append("left out")

    monkeypatch.setattr(line_writer, "LAST_MOMENTS", 10)
    monkeypatch.setattr(pipe.writer, "_tell_left_out", tell)
    pipe.log("hello")
    pipe.writer.close()
    assert said


def test_what_is_logged_after_the_end_is_written_at_once() -> None:
    """As by functions that run when the interpreter exits."""
    stream = StringIO()
    writer = LineWriter(stream, FORMAT)
    writer.close()
    writer.handle(logging.LogRecord("app", logging.INFO, "", 0, "late", (), None))
    assert stream.getvalue() == "INFO late\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    """The server goes on."""
    read, written = os.pipe()
    stream = os.fdopen(written, "w")
    writer = LineWriter(stream, FORMAT)
    os.close(read)
    writer.handle(logging.LogRecord("app", logging.INFO, "", 0, "hello", (), None))
    writer.flush()
    assert writer._taken == writer._added
    writer.close()
    stream.close()


class Disk:
    """Takes the first bytes of what is written to it, until there is room for all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room: float = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self._write(descriptor, data[: int(min(self.room, len(data)))])
        self.room -= taken
        return taken


def test_lines_that_a_full_disk_does_not_take_are_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was torn too, and the next one begins on a line of its own."""
    disk = Disk(monkeypatch, room=len("INFO first\nINFO sec"))
    for text in ("first", "second", "third"):
        pipe.log(text)
        pipe.writer.flush()
    disk.room = float("inf")
    pipe.log("fourth")
    first, torn, *rest = pipe.read(4)
    fourth, told = sorted(rest)  # the writer may have noticed the room first
    assert (first, torn, fourth) == ("INFO first", "INFO sec", "INFO fourth")
    assert told.startswith("WARNING 2 log lines were left out, as they could not be written")
    pipe.log("fifth")
    assert pipe.read(1) == ["INFO fifth"]


def test_a_process_without_stderr_writes_nothing() -> None:
    """As one that was started in the background with its output closed."""
    writer = LineWriter(None, FORMAT)
    writer.handle(logging.LogRecord("app", logging.INFO, "", 0, "hello", (), None))
    writer.flush()
    assert writer._taken == writer._added
    writer.close()


def test_a_pipe_that_somebody_has_made_nonblocking_loses_nothing() -> None:
    """Whoever shares it may do so; then writes fail instead of waiting."""
    pipe = Pipe()
    os.set_blocking(pipe.stream.fileno(), False)
    for number in range(500):
        pipe.log("%s", f"{number} " + "x" * 1000)
    assert [line.split()[1] for line in pipe.read(500)] == [str(number) for number in range(500)]
    pipe.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # from Python 3.12 on
def test_a_forked_process_writes_its_lines_itself(pipe: Pipe) -> None:
    """The thread is not there."""
    child = os.fork()
    if child == 0:
        pipe.log("from the child")
        os._exit(0)
    os.waitpid(child, 0)
    assert pipe.read(1) == ["INFO from the child"]
