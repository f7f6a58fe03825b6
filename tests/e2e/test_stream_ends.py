"""Streams that the server ends: at their deadline, or because it shuts down."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest
from e2e.server import Server, Start, serve_source, wait_until
from e2e.streams import NDJSON, RAW, SSE, Stream, open_stream, problem, send, wait_for_event
from e2e.wire import RECORD, answer, events, post

TIMEOUT = 0.5  # seconds, for handlers that have a timeout
GRACE = 0.7  # seconds, for tests in which the grace period runs out
PROMPT = 3.0  # seconds that a process may take to end when nothing holds it any more

SOURCE = (
    RECORD
    + f"""
import asyncio
import os
import threading

from potassium import Limits, Potassium, Request

app = Potassium("server", limits=Limits(grace_period=float(os.environ.get("GRACE", "20"))))


def closed(name):
    note(f"{{name}} closed on {{threading.current_thread().name}}")


def endless(call):
    note(f"{{call['name']}} starts")
    try:
        for number in range(10**9):
            if number == call.get("stuck"):
                wait_for(call["gate"])
            elif pathlib.Path(call.get("gate", "none")).exists():
                return
            yield call.get("chunk", "tok") * call.get("times", 1)
            time.sleep(0.005)
    finally:
        closed(call["name"])


@app.handler("/yields", timeout={TIMEOUT})
def yields(cache, json_in):
    yield from endless(json_in)


@app.handler("/async", timeout={TIMEOUT})
async def asynchronous(cache, json_in):
    try:
        while True:
            yield "tok"
            await asyncio.sleep(0.005)
    finally:
        closed(json_in["name"])


@app.handler("/pushes", timeout={TIMEOUT})
def pushes(cache, request: Request):
    try:
        while not request.cancelled:
            request.send("tok")
            time.sleep(0.005)
    finally:
        closed(request.json["name"])


@app.handler("/patient")
def patient(cache, json_in):
    yield from endless(json_in)


@app.handler("/ordinary")
def ordinary(cache, json_in):
    return "served"


if __name__ == "__main__":
    app.serve()
"""
)
SHORT = {"GRACE": str(GRACE)}
THREADS = {"/yields": "potassium-gpu", "/pushes": "potassium-gpu", "/async": "MainThread"}
RUNNERS = pytest.mark.parametrize("target", [None, "app"], ids=["python", "uvicorn"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("ends")) as server:
        yield server


@pytest.mark.parametrize("path", THREADS)
def test_a_stream_of_events_is_told_of_its_deadline(server: Server, path: str, name: str) -> None:
    """The last event is an ``error`` with the status and the code of a 504, and it is not early."""
    start = time.monotonic()
    with open_stream(server, path, {"name": name}, SSE) as stream:
        *chunks, last = stream.last_events()
    assert (problem(last), bool(chunks)) == ((504, "deadline_exceeded"), True)
    assert time.monotonic() - start >= TIMEOUT - 0.01


@pytest.mark.parametrize("accept", [RAW, NDJSON])
@pytest.mark.parametrize("path", THREADS)
def test_a_stream_past_its_deadline_does_not_look_whole(
    server: Server, path: str, accept: str, name: str
) -> None:
    """If there is no event to report the deadline, the body breaks off."""
    with open_stream(server, path, {"name": name}, accept) as stream:
        received, is_whole = stream.rest()
    assert (stream.status, b"tok" in received, is_whole) == (200, True, False)


@pytest.mark.parametrize("path", THREADS)
def test_a_deadline_closes_the_generator(server: Server, path: str, name: str) -> None:
    """The generator is closed once, on its own thread, which then serves the next call."""
    end = f"{name} closed on {THREADS[path]}"
    with open_stream(server, path, {"name": name}, SSE) as stream:
        stream.rest()
        wait_for_event(server, end)
    assert server.post("/ordinary", {}).json() == "served"
    assert (events(server, name)[-1], events(server, name).count(end)) == (end, 1)


@pytest.mark.parametrize("accept", [RAW, SSE])
def test_a_deadline_before_the_first_chunk_is_a_504(
    server: Server, accept: str, name: str, gate: Path
) -> None:
    """A first step that takes too long is answered on time, though it still runs."""
    body = {"name": name, "gate": str(gate), "stuck": 0}
    with open_stream(server, "/yields", body, accept) as stream:
        assert stream.answer().error() == (504, "deadline_exceeded")
    assert events(server, name) == [f"{name} starts"]
    gate.touch()
    wait_for_event(server, f"{name} closed on potassium-gpu")


def test_a_deadline_does_not_wait_for_a_step(server: Server, name: str, gate: Path) -> None:
    """A stream whose step takes too long ends on time; the late chunk reaches nobody."""
    body = {"name": name, "gate": str(gate), "stuck": 3}
    with open_stream(server, "/yields", body, SSE) as stream:
        *chunks, last = stream.last_events()
    assert ([event.id for event in chunks], problem(last)[0]) == (["1", "2", "3"], 504)
    assert events(server, name) == [f"{name} starts"]
    gate.touch()
    wait_for_event(server, f"{name} closed on potassium-gpu")


def test_a_client_may_shorten_the_deadline_of_its_stream(server: Server, name: str) -> None:
    """``Prefer: wait=S`` applies to the whole stream."""
    with open_stream(server, "/patient", {"name": name}, SSE, "Prefer: wait=0.4") as stream:
        assert problem(stream.last_events()[-1]) == (504, "deadline_exceeded")
    wait_for_event(server, f"{name} closed on potassium-gpu")


def test_a_deadline_that_passes_before_its_turn_is_a_504(server: Server, name: str) -> None:
    """A stream that waits for another one in vain is answered on time, and never started."""
    with open_stream(server, "/patient", {"name": f"{name} a"}, RAW) as first:
        body = {"name": f"{name} b"}
        with open_stream(server, "/patient", body, SSE, "Prefer: wait=0.3") as second:
            assert second.answer().error() == (504, "deadline_exceeded")
        first.until(b"tok" * 3)
    wait_for_event(server, f"{name} a closed on potassium-gpu")
    server.post("/ordinary", {})
    assert events(server, f"{name} b") == []


@RUNNERS
def test_a_drain_lets_streams_finish(
    start: Start, name: str, gate: Path, target: str | None
) -> None:
    """A stream that ends within the grace period is whole, and the process ends with status 0."""
    server = start(SOURCE, target=target)
    with open_stream(server, "/patient", {"name": name, "gate": str(gate)}, SSE) as stream:
        stream.event()
        server.process.send_signal(SIGTERM)
        time.sleep(0.3)
        seen = [stream.event().type for _ in range(20)]
        gate.touch()
        rest = stream.last_events()
    assert ({*seen}, rest[-1].type) == ({"message"}, "end")
    status = server.process.wait(10)
    assert status == 0 or target is not None


def test_a_drain_turns_readiness_red_under_streams(start: Start, name: str, gate: Path) -> None:
    """Open streams do not keep a load balancer from learning of the shutdown at once."""
    server = start(SOURCE)
    with open_stream(server, "/patient", {"name": name, "gate": str(gate)}, SSE) as stream:
        stream.event()
        server.process.send_signal(SIGTERM)
        wait_until(lambda: server.get("/readyz").status_code == 503, "a red readiness")
        assert stream.event().type == "message"


def test_a_drain_begins_the_streams_that_were_admitted(start: Start, name: str, gate: Path) -> None:
    """A stream that waits for its turn gets it, and is whole."""
    server = start(SOURCE)
    body = {"name": f"{name} a", "gate": str(gate)}
    with open_stream(server, "/patient", body, RAW) as first:
        opened = gate.with_name("opened")
        waiting = send(server, "/patient", {"name": f"{name} b", "gate": str(opened)}, SSE)
        first.until(b"tok" * 20)
        server.process.send_signal(SIGTERM)
        time.sleep(0.3)
        gate.touch()
        with waiting, Stream(waiting) as second:
            assert second.event().type == "message"
            opened.touch()
            assert second.last_events()[-1].type == "end"
        assert first.rest()[1]
    assert server.process.wait(10) == 0


@RUNNERS
def test_past_the_grace_streams_are_told(start: Start, name: str, target: str | None) -> None:
    """A stream of events ends with an ``error`` that says why, and its generator is closed."""
    server = start(SOURCE, target=target, env=SHORT)
    with open_stream(server, "/patient", {"name": name}, SSE) as stream:
        stream.event()
        server.process.send_signal(SIGTERM)
        last = stream.last_events()[-1]
    assert problem(last) == (503, "draining")
    server.process.wait(PROMPT)
    assert events(server, name) == [f"{name} starts", f"{name} closed on potassium-gpu"]


@pytest.mark.parametrize("accept", [RAW, NDJSON])
def test_past_the_grace_a_stream_does_not_look_whole(start: Start, name: str, accept: str) -> None:
    """If there is no event to report the end, the body breaks off."""
    server = start(SOURCE, env=SHORT)
    with open_stream(server, "/patient", {"name": name}, accept) as stream:
        stream.until(b"tok")
        server.process.send_signal(SIGTERM)
        assert stream.rest()[1] is False
    server.process.wait(PROMPT)


@pytest.mark.parametrize("path", ["/async", "/pushes"])
def test_past_the_grace_other_streams_are_told_as_well(start: Start, name: str, path: str) -> None:
    """Streams from the event loop and streams that are pushed get the same ``error`` event."""
    server = start(SOURCE.replace(f"timeout={TIMEOUT}", "timeout=30"), env=SHORT)
    with open_stream(server, path, {"name": name}, SSE) as stream:
        stream.event()
        server.process.send_signal(SIGTERM)
        assert problem(stream.last_events()[-1]) == (503, "draining")
    server.process.wait(PROMPT)


def test_a_client_that_does_not_read_does_not_delay_the_end(start: Start, name: str) -> None:
    """After the grace period the process ends, whatever remains to be written."""
    server = start(SOURCE, env=SHORT)
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(post("/patient", {"name": name, "times": 100_000}, RAW))
        wait_for_event(server, f"{name} starts")
        time.sleep(1)  # until the buffers take no more
        server.process.send_signal(SIGTERM)
        server.process.wait(GRACE + PROMPT)


def test_a_client_that_leaves_its_stream_lets_a_drain_end(start: Start, name: str) -> None:
    """A drain does not wait for a stream whose client has left."""
    server = start(SOURCE)
    with open_stream(server, "/patient", {"name": name}, SSE) as stream:
        stream.event()
        server.process.send_signal(SIGTERM)
        time.sleep(0.2)
    assert server.process.wait(PROMPT) == 0
    assert events(server, name)[-1] == f"{name} closed on potassium-gpu"


def test_a_drain_refuses_new_streams(start: Start, name: str, gate: Path) -> None:
    """A client that calls after the signal is answered 503, even if it wants events."""
    server = start(SOURCE)
    with open_stream(server, "/patient", {"name": name, "gate": str(gate)}, SSE) as stream:
        stream.event()
        server.process.send_signal(SIGTERM)
        wait_until(lambda: server.get("/readyz").status_code == 503, "the drain")
        with send(server, "/patient", {"name": name}, SSE) as refused:
            assert answer(refused).error() == (503, "draining")
