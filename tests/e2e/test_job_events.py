"""The events of a background job, sent as they happen."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from e2e.jobs import (
    IMPORTS,
    SERVE,
    Document,
    cancel,
    document,
    end_of,
    get,
    open_events,
    reaches,
    submit,
    told,
)
from e2e.server import Server, Start, serve_source, wait_until
from e2e.wire import call, events
from support.sse import Event, parse

SOURCE = (
    IMPORTS
    + """
app = Potassium("server")


@app.background("/hold")
def held(cache, json_in):
    return hold(json_in)


@app.background("/fails")
def fails(cache, json_in):
    raise ValueError


@app.background("/steps")
def steps(cache, request: Request):
    for step in range(5):
        request.progress(step / 5, f"step {step}")
        gate = request.json["gate"]
        while not os.path.exists(gate) and not os.path.exists(f"{gate}{step}"):
            time.sleep(0.005)
    return "done"


@app.background("/often")
def often(cache, request: Request):
    for step in range(10_000):
        request.progress(step / 10_000)


@app.background("/stream")
def stream(cache, json_in):
    for number in range(json_in["count"]):
        yield {"number": number, "text": "two\\nlines"}
    wait_for(json_in["gate"])
    yield "last"


@app.background("/send")
def send(cache, request: Request):
    request.send("one")
    request.send("two")


@app.background("/breaks")
def breaks(cache, json_in):
    yield "a"
    raise ValueError
"""
    + SERVE
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("events")) as server:
        yield server


def all_events(server: Server, job: Document, *headers: str) -> list[Event]:
    """Return the job's events up to the end of their stream, which must be a proper one."""
    with open_events(server, job, *headers) as stream:
        assert stream.status == 200
        body, is_whole = stream.rest()
        assert is_whole
        return parse(body)


def of(kind: str, found: list[Event]) -> list[object]:
    """Return the data of all events of one kind."""
    return [told(event.data) for event in found if event.type == kind]


def statuses(found: list[Event]) -> list[str]:
    """Return the statuses in the events, in order."""
    return [told(event.data)["status"] for event in found if event.type == "status"]


def test_events_are_server_sent_events(server: Server, gate: Path) -> None:
    """Events have the format that ``EventSource`` reads, and no cache keeps them."""
    job = submit(server, "/steps", {"gate": str(gate)})
    with open_events(server, job) as stream:
        assert stream.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert stream.headers["cache-control"] in ("no-cache", "no-store")


@pytest.mark.parametrize(
    ("path", "end"), [("/steps", "succeeded"), ("/fails", "failed"), ("/breaks", "failed")]
)
def test_a_stream_of_events_ends_with_the_end(
    server: Server, gate: Path, path: str, end: str
) -> None:
    """The last event is the final status, and then the stream ends."""
    gate.touch()
    found = all_events(server, submit(server, path, {"gate": str(gate)}))
    assert found[-1].type == "status"
    assert statuses(found)[-2:] == ["running", end]


def test_a_cancelled_job_ends_its_stream(server: Server, name: str, gate: Path) -> None:
    """A listener learns that the job was cancelled."""
    submit(server, "/hold", call(name, gate))
    wait_until(lambda: events(server, name), "the first job at work")
    job = submit(server, "/fails")
    with open_events(server, job) as stream:
        cancel(server, job)
        assert statuses(stream.last_events())[-1:] == ["cancelled"]


def test_ids_count_up_from_one(server: Server, gate: Path) -> None:
    """Each event has the next number, whatever its kind."""
    gate.touch()
    found = all_events(server, submit(server, "/steps", {"gate": str(gate)}))
    assert [event.id for event in found] == [str(n + 1) for n in range(len(found))]


def test_progress_is_told_at_once(server: Server, gate: Path) -> None:
    """Each step is sent while the handler is still in it, before the next one begins."""
    job = submit(server, "/steps", {"gate": str(gate)})
    with open_events(server, job) as stream:
        for step in range(5):
            event = stream.event()
            while event.type != "progress":
                event = stream.event()
            progress = told(event.data)
            assert (progress["progress"], progress["message"]) == (step / 5, f"step {step}")
            gate.with_name(f"{gate.name}{step}").touch()
        assert statuses(stream.last_events()) == ["succeeded"]


def test_a_handler_may_tell_its_progress_at_every_step(server: Server) -> None:
    """Ten thousand reports hold up neither the handler nor the reader; none goes backwards."""
    start = time.monotonic()
    found = of("progress", all_events(server, submit(server, "/often")))
    assert time.monotonic() - start < 10
    values = [progress["progress"] for progress in found if isinstance(progress, dict)]
    assert values == sorted(values)
    assert 1 <= len(values) <= 10_000


def test_chunks_are_told_as_they_come(server: Server, gate: Path) -> None:
    """Each chunk of a streaming handler is an event, sent before the handler is done."""
    job = submit(server, "/stream", {"count": 3, "gate": str(gate)})
    with open_events(server, job) as stream:
        found: list[Event] = []
        while len(of("chunk", found)) < 3:
            found.append(stream.event())
        assert of("chunk", found) == [{"number": n, "text": "two\nlines"} for n in range(3)]
        assert document(server, job)["status"] == "running"
        gate.touch()
        rest = stream.last_events()
    assert of("chunk", rest) == ["last"]
    assert statuses(rest) == ["succeeded"]


def test_what_a_handler_sends_is_told(server: Server) -> None:
    """``request.send`` makes chunks in a job as in a call."""
    job = submit(server, "/send")
    assert of("chunk", all_events(server, job)) == ["one", "two"]
    assert document(server, job)["output"] == ["one", "two"]


def test_a_stream_of_an_ended_job_tells_all_of_it(server: Server, gate: Path) -> None:
    """A late listener gets what the others got."""
    gate.touch()
    job = submit(server, "/stream", {"count": 3, "gate": str(gate)})
    with open_events(server, job) as stream:
        early = stream.last_events()
    end_of(server, job)
    assert all_events(server, job) == early
    assert len(of("chunk", early)) == 4


@pytest.mark.parametrize("seen", [1, 2, 4])
def test_a_stream_is_resumed_after_what_was_seen(server: Server, gate: Path, seen: int) -> None:
    """With ``Last-Event-ID``, a client that was cut off misses nothing and gets nothing twice."""
    job = submit(server, "/stream", {"count": 3, "gate": str(gate)})
    with open_events(server, job) as stream:
        first = [stream.event() for _ in range(seen)]
    gate.touch()
    rest = all_events(server, job, f"Last-Event-ID: {first[-1].id}")
    assert [*first, *rest] == all_events(server, job)


def test_a_stream_that_was_read_to_its_end_has_no_more(server: Server, gate: Path) -> None:
    """After the last event, the answer is 204, which tells an EventSource not to come back."""
    gate.touch()
    job = submit(server, "/steps", {"gate": str(gate)})
    last = all_events(server, job)[-1]
    answer = get(server, f"/jobs/{job['id']}/events", {"Last-Event-ID": last.id})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("last", ["", "none", "-1", "99999999999999999999"])
def test_an_id_that_was_never_sent_is_no_mistake_of_the_server(
    server: Server, gate: Path, last: str
) -> None:
    """The stream ends properly, or the client is told that the id is wrong."""
    gate.touch()
    job = submit(server, "/steps", {"gate": str(gate)})
    end_of(server, job)
    with open_events(server, job, f"Last-Event-ID: {last}") as stream:
        assert stream.status in (200, 400, 422)
        assert stream.rest()[1]


def test_a_listener_that_leaves_does_not_end_the_job(server: Server, gate: Path) -> None:
    """A job does not depend on anybody's connection."""
    job = submit(server, "/steps", {"gate": str(gate)})
    reaches(server, job, "running")
    with open_events(server, job) as stream:
        stream.event()
        stream.reset()
    gate.touch()
    assert end_of(server, job)["output"] == "done"


def test_events_go_on_counting_after_a_restart(start: Start, name: str, gate: Path) -> None:
    """A client that resumes after a kill of the server sees increasing ids, and the job's end."""
    server = start(SOURCE)
    job = submit(server, "/steps", {"gate": str(gate)})
    with open_events(server, job) as stream:
        seen = [stream.event() for _ in range(2)]
    server.process.kill()
    server.process.wait()
    server = start(SOURCE)
    gate.touch()
    rest = all_events(server, job, f"Last-Event-ID: {seen[-1].id}")
    ids = [int(event.id) for event in [*seen, *rest]]
    assert all(later > earlier for earlier, later in pairwise(ids))
    assert statuses(rest)[-1] == "succeeded"
