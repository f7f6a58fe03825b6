"""Streams that fail before or after their first chunk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.server import Server, Start, serve_source
from e2e.streams import NDJSON, RAW, SSE, Stream, open_stream, problem, wait_for_event
from e2e.wire import RECORD, events, is_closed, post
from support.sse import Event

SOURCE = (
    RECORD
    + """
import asyncio
import threading

import torch
from starlette.exceptions import HTTPException

from potassium import Potassium, Request, Response

app = Potassium("server")

RAISED = {
    "Exception": lambda: Exception("hidden-4711"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(1),
    "CancelledError": asyncio.CancelledError,
    "HTTPException": lambda: HTTPException(409, detail="Not today.", headers={"X-Reason": "busy"}),
    "out of memory": lambda: torch.OutOfMemoryError("CUDA out of memory"),
    "poison": lambda: torch.AcceleratorError("CUDA error: device-side assert triggered"),
}


def fail(what):
    if what != "unsendable":
        raise RAISED[what]()
    return object()


def fails(call):
    try:
        for number in range(call["after"]):
            yield f"chunk {number}"
        if call["after"]:
            wait_for(call["gate"])
        yield fail(call["what"])
        note(f"{call['name']} goes on")
    finally:
        note(f"{call['name']} closed on {threading.current_thread().name}")


@app.handler("/yields", streams=4)
def yields(cache, json_in):
    yield from fails(json_in)


@app.handler("/response")
def response(cache, json_in):
    return Response(body=fails(json_in), status=201, headers={"X-Own": "mine"})


@app.handler("/pushes")
def pushes(cache, request: Request):
    call = request.json
    for number in range(call["after"]):
        request.send(f"chunk {number}")
    if call["after"]:
        wait_for(call["gate"])
    return fail(call["what"])


@app.handler("/pushes/unsendable")
def pushes_unsendable(cache, request: Request):
    request.send(object())
    return "last"


@app.handler("/async")
async def asynchronous(cache, json_in):
    try:
        for number in range(json_in["after"]):
            yield f"chunk {number}"
        while json_in["after"] and not pathlib.Path(json_in["gate"]).exists():
            await asyncio.sleep(0.005)
        yield fail(json_in["what"])
        note(f"{json_in['name']} goes on")
    finally:
        note(f"{json_in['name']} closed on {threading.current_thread().name}")


@app.handler("/count", streams=4)
def count(cache, json_in):
    number = 0
    while not pathlib.Path(json_in["gate"]).exists():
        if "name" in json_in:
            note(f"{json_in['name']} step")
        yield number
        number += 1
        time.sleep(0.002)


@app.handler("/ordinary")
def ordinary(cache, json_in):
    return "served"


if __name__ == "__main__":
    app.serve()
"""
)
PRODUCERS = ["/yields", "/response", "/pushes", "/async"]
THREADS = {"/yields": "potassium-gpu", "/async": "MainThread"}
RAISED = [
    "Exception",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "StopIteration",
    "CancelledError",
]
ERRORS = {
    "HTTPException": 409,
    "out of memory": (503, "out_of_memory"),
    "unsendable": (500, "unserializable_output"),
}
OWN_STATUS = pytest.mark.parametrize(
    ("path", "what"),
    [
        (path, what)
        for path in PRODUCERS
        for what in ERRORS
        if (path, what) != ("/async", "out of memory")  # an async handler does not use the device
    ],
)


@dataclass
class Fault:
    """A call that fails after some chunks, once ``happens`` is called; without chunks, at once."""

    name: str
    gate: Path

    def call(self, what: str, after: int) -> dict[str, object]:
        return {"what": what, "after": after, "name": self.name, "gate": str(self.gate)}

    def happens(self) -> None:
        self.gate.touch()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("faults")) as server:
        yield server


@pytest.fixture
def fault(name: str, gate: Path) -> Fault:
    return Fault(name, gate)


def broken_events(server: Server, path: str, fault: Fault, what: str, after: int) -> list[Event]:
    """Return the events of a stream that fails after its chunks have arrived."""
    with open_stream(server, path, fault.call(what, after), SSE) as stream:
        first = stream.event()
        fault.happens()
        return [first, *stream.last_events()]


@pytest.mark.parametrize("accept", [RAW, NDJSON, SSE])
@pytest.mark.parametrize("path", PRODUCERS)
@pytest.mark.parametrize("what", RAISED)
def test_a_stream_that_fails_at_once_is_answered_500(
    server: Server, path: str, what: str, accept: str, fault: Fault
) -> None:
    """Before anything is sent, an error has its own status, whatever the client asked for."""
    with open_stream(server, path, fault.call(what, 0), accept) as stream:
        assert stream.answer().error() == (500, "handler_error")
    assert server.post("/ordinary", {}).json() == "served"


@OWN_STATUS
def test_a_stream_that_fails_at_once_keeps_its_status(
    server: Server, path: str, what: str, fault: Fault
) -> None:
    """A stream whose first step fails is answered like an ordinary handler that fails."""
    with open_stream(server, path, fault.call(what, 0), SSE) as stream:
        status, code = stream.answer().error()
    assert ERRORS[what] in (status, (status, code))


def test_a_failed_stream_has_nothing_of_its_response(server: Server, fault: Fault) -> None:
    """The status and headers of a ``Response`` whose body fails at once are not sent."""
    body = fault.call("Exception", 0)
    with open_stream(server, "/response", body, RAW) as stream:
        assert (stream.status, stream.headers["x-own"]) == (500, None)


@pytest.mark.parametrize("accept", [RAW, NDJSON])
@pytest.mark.parametrize("path", PRODUCERS)
@pytest.mark.parametrize("what", [*RAISED, *ERRORS])
def test_a_stream_that_fails_later_does_not_look_whole(
    server: Server, path: str, what: str, accept: str, fault: Fault
) -> None:
    """The chunks so far arrive, and then the body breaks off."""
    with open_stream(server, path, fault.call(what, 2), accept) as stream:
        received = stream.until(b"chunk 1")
        fault.happens()
        rest, is_whole = stream.rest()
    assert is_whole is False
    assert (received + rest).replace(b'"', b"").replace(b"\n", b"") == b"chunk 0chunk 1"
    assert server.post("/ordinary", {}).json() == "served"


@pytest.mark.parametrize("path", PRODUCERS)
@pytest.mark.parametrize("what", RAISED)
def test_a_stream_of_events_that_fails_says_so(
    server: Server, path: str, what: str, fault: Fault
) -> None:
    """After the chunks comes an ``error`` event, and no ``end``."""
    first, *rest, last = broken_events(server, path, fault, what, 2)
    assert [first.data, *(event.data for event in rest)] == ["chunk 0", "chunk 1"]
    assert problem(last) == (500, "handler_error")
    assert server.post("/ordinary", {}).json() == "served"


@OWN_STATUS
def test_an_error_event_tells_what_an_answer_would(
    server: Server, path: str, what: str, fault: Fault
) -> None:
    """The problem document in the event has the status and the code of the failure."""
    *_, last = broken_events(server, path, fault, what, 1)
    status, code = problem(last)
    assert ERRORS[what] in (status, (status, code))


def test_an_error_event_is_a_whole_problem_document(server: Server, fault: Fault) -> None:
    """The document has the members of RFC 9457, and the request id of the stream's head."""
    body = fault.call("Exception", 1)
    with open_stream(server, "/yields", body, SSE, "X-Request-Id: mine-4711") as stream:
        stream.event()
        fault.happens()
        document = json.loads(stream.last_events()[-1].data)
    assert {"type", "title", "status", "detail", "code", "request_id"} <= document.keys()
    assert document["request_id"] == "mine-4711"


@pytest.mark.parametrize("path", PRODUCERS)
def test_what_a_stream_raised_does_not_leave_the_server(
    server: Server, path: str, fault: Fault
) -> None:
    """An ``error`` event carries no message, no traceback and no path."""
    *_, last = broken_events(server, path, fault, "Exception", 1)
    assert not any(hidden in last.data for hidden in ("hidden-4711", "Traceback", "app.py"))


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("path", PRODUCERS)
def test_the_log_has_the_traceback_of_a_stream(
    server: Server, path: str, after: int, fault: Fault
) -> None:
    """By request id, the operator finds in the log what the client is not shown."""
    fault.happens()
    body = fault.call("Exception", after)
    with open_stream(server, path, body, SSE, f"X-Request-Id: {fault.name}") as stream:
        stream.rest()
    _, _, entry = server.log().partition(fault.name)
    assert "Exception: hidden-4711" in entry


@pytest.mark.parametrize("accept", [RAW, NDJSON])
@pytest.mark.parametrize("path", PRODUCERS)
def test_a_stream_that_fails_right_after_a_chunk_does_not_look_whole(
    server: Server, path: str, accept: str, fault: Fault
) -> None:
    """Even with no time in between, the failure is seen: as a status, or as a broken body."""
    fault.happens()
    with open_stream(server, path, fault.call("Exception", 3), accept) as stream:
        _, is_whole = stream.rest()
    assert (stream.status == 500) is is_whole


@pytest.mark.parametrize("accept", [RAW, NDJSON])
def test_a_broken_stream_closes_its_connection(server: Server, accept: str, fault: Fault) -> None:
    """The connection is closed, because anything could follow on it."""
    with server.connect() as connection:
        connection.sendall(post("/yields", fault.call("Exception", 1), accept))
        stream = Stream(connection)
        stream.until(b"chunk 0")
        fault.happens()
        stream.rest()
        assert is_closed(connection)


@pytest.mark.parametrize("what", ["Exception", "unsendable"])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("path", THREADS)
def test_a_generator_that_fails_is_closed(
    server: Server, path: str, what: str, after: int, fault: Fault
) -> None:
    """The generator is closed on its own thread, never resumed, even after an unsendable chunk."""
    fault.happens()
    with open_stream(server, path, fault.call(what, after), SSE) as stream:
        stream.rest()
    closed = f"{fault.name} closed on {THREADS[path]}"
    wait_for_event(server, closed)
    assert events(server, fault.name) == [closed]


def test_a_push_that_cannot_be_sent_fails_its_call(server: Server) -> None:
    """``request.send`` of a value without a JSON form is answered like a result without one."""
    with open_stream(server, "/pushes/unsendable", {}, RAW) as stream:
        assert stream.answer().error() == (500, "unserializable_output")


def test_a_stream_that_fails_affects_no_other_stream(
    server: Server, fault: Fault, tmp_path: Path
) -> None:
    """Other streams that take turns with it go on, and come to their proper end."""
    last = tmp_path / "last"
    with open_stream(server, "/count", {"gate": str(last)}, SSE) as other:
        first = other.event()
        broken_events(server, "/yields", fault, "Exception", 1)
        ids = [int(other.event().id) for _ in range(50)]
        last.touch()
        assert (first.id, ids) == ("1", list(range(2, 52)))
        assert other.last_events()[-1].type == "end"


def test_streams_that_fail_leave_the_server_ready(server: Server, fault: Fault) -> None:
    """One process survives all of these faults."""
    fault.happens()
    for what in (*RAISED, *ERRORS):
        with open_stream(server, "/yields", fault.call(what, 1), RAW) as stream:
            stream.rest()
    assert [server.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    assert server.process.poll() is None


def test_a_stream_that_poisons_the_device_ends_all(
    start: Start, fault: Fault, tmp_path: Path
) -> None:
    """Every stream gets an error, no other step runs on the dead context, and the process ends."""
    server = start(SOURCE)
    body = {"name": "other", "gate": str(tmp_path / "last")}
    with open_stream(server, "/count", body, SSE) as other:
        other.event()
        last = broken_events(server, "/yields", fault, "poison", 1)[-1]
        assert problem(last)[0] in (500, 503)
        assert problem(other.last_events()[-1]) == (503, "worker_failed")
    assert server.process.wait(10) != 0
    assert events(server)[-1] == f"{fault.name} closed on potassium-gpu"
