"""Bodies on disk: their readers, and when the descriptor is closed."""

import io
import os
import threading
from pathlib import Path

import pytest

from potassium.http.message import Message
from potassium.http.spooled import SpooledBody

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def body() -> SpooledBody:
    body = SpooledBody.new()
    body.write(CONTENT[:1000])
    body.write(CONTENT[1000:])
    return body


def test_readers_are_independent(body: SpooledBody) -> None:
    """Each has a position of its own, from 0 on."""
    one, other = body.open(), body.open()
    assert one.read(10) == CONTENT[:10]
    assert other.read() == CONTENT
    assert one.read() == CONTENT[10:]
    assert one.seek(-3, io.SEEK_END) == len(CONTENT) - 3
    assert one.read() == CONTENT[-3:]
    assert (one.seek(5), one.read(2), one.seek(1, io.SEEK_CUR)) == (5, CONTENT[5:7], 8)
    with pytest.raises(ValueError, match="before the start"):
        body.open().seek(-1)
    body.close()


def test_a_message_reads_its_body_whatever_it_is_in(body: SpooledBody) -> None:
    """In memory or on disk."""
    for content in (CONTENT, body):
        message = Message("id", [], content)
        assert (message.size, message.body) == (len(CONTENT), CONTENT)
        with message.open() as reader:
            assert reader.read(3) == CONTENT[:3]
        with message.open() as reader:
            assert reader.read() == CONTENT
    body.close()


def test_nothing_is_read_after_the_end_of_the_call(body: SpooledBody) -> None:
    """The descriptor may belong to the body of another client by then."""
    reader = body.open()
    body.close()
    body.close()
    for read in (reader.read, body.read, body.share):
        with pytest.raises(ValueError, match="its call has ended"):
            read()


def test_a_read_under_way_keeps_the_descriptor(
    body: SpooledBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits for nobody: the last read closes the file."""
    begun, go, closed = threading.Event(), threading.Event(), []
    pread = os.pread

    def slow(*arguments: int) -> bytes:
        begun.set()
        assert go.wait(10)
        return pread(*arguments)

    body._on_close = lambda: closed.append(True)
    monkeypatch.setattr(os, "pread", slow)
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(body.read_at(0, 10)))
    thread.start()
    assert begun.wait(10)
    body.close()
    assert not closed
    go.set()
    thread.join(10)
    assert read == [CONTENT[:10]]
    assert closed


def test_a_shared_body_outlives_the_first(body: SpooledBody) -> None:
    """Whoever shares it closes it."""
    shared = body.share()
    body.close()
    assert shared.read() == CONTENT
    shared.close()


def test_it_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that nothing is left of it if the process is killed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    body = SpooledBody.new()
    body.write(b"a")
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) in os.readlink(f"/proc/self/fd/{body._file.fileno()}")  # noqa: PTH115
    body.close()
