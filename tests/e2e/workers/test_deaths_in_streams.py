"""Streams whose worker is killed end with an error, in whatever format they are."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from e2e.server import wait_until
from e2e.streams import NDJSON, RAW, SSE, open_stream, problem
from e2e.workers.processes import AT_ONCE, TIMEOUT, Answered, crew, kill, runs, workers

pytestmark = TIMEOUT
FAILED = (503, "worker_failed")


@dataclass
class InStreams:
    """What happened to four streams when their worker was killed."""

    events: tuple[int, str]
    lines_are_whole: bool
    raw_is_whole: bool
    unbegun: Answered  # of the stream that had no chunk so far
    seconds: float
    bystander: Answered
    begun: list[int]


@pytest.fixture(scope="module")
def in_streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InStreams]:
    with crew(tmp_path_factory.mktemp("streams")) as caller:
        server = caller.server
        bystander, other = caller.occupy("/run", "bystander")
        gate = server.log_file.parent / "gate"
        body = {"name": "stream", "wait": str(gate)}
        with (
            open_stream(server, "/slow", body, SSE) as events,
            open_stream(server, "/slow", body, NDJSON) as lines,
            open_stream(server, "/slow", body, RAW) as raw,
        ):
            assert events.event().data == "chunk"
            lines.until(b"chunk")
            raw.until(b"chunk")
            unbegun = caller.send("/slow", "unbegun", first=str(gate), wait=str(gate))
            wait_until(lambda: runs(server, "unbegun"), "the fourth stream at work")
            (victim,) = set(workers(server)) - {other}
            now = time.monotonic()
            kill(victim)
            end = problem(events.last_events()[-1])
            whole = lines.rest()[1], raw.rest()[1]
            seconds = time.monotonic() - now
            fourth = unbegun.result()
        began = runs(server, "stream") + runs(server, "unbegun")
        yield InStreams(
            end,
            *whole,
            fourth,
            max(seconds, fourth.at - now),
            bystander.go_on(),
            [pid for pid in began if pid != victim],
        )


def test_events_of_a_killed_worker_end_with_an_error(in_streams: InStreams) -> None:
    """A browser gets the problem document as its last event."""
    assert in_streams.events == FAILED


def test_lines_of_a_killed_worker_break_off(in_streams: InStreams) -> None:
    """They have no other way to say that something is missing."""
    assert not in_streams.lines_are_whole


def test_raw_chunks_of_a_killed_worker_break_off(in_streams: InStreams) -> None:
    """They have no other way to say that something is missing."""
    assert not in_streams.raw_is_whole


def test_a_stream_without_a_chunk_of_a_killed_worker_gets_503(in_streams: InStreams) -> None:
    """Its answer had not begun, but its handler had."""
    assert in_streams.unbegun.error == FAILED


def test_those_who_read_from_a_killed_worker_hear_at_once(in_streams: InStreams) -> None:
    """All of them, whatever they read."""
    assert in_streams.seconds < AT_ONCE


def test_no_stream_of_a_killed_worker_begins_again(in_streams: InStreams) -> None:
    """Its reader has had a part already."""
    assert in_streams.begun == []
    assert in_streams.bystander.response.status_code == 200
