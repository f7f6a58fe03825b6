"""Clients that leave in the middle of a stream."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.server import Server, serve_source
from e2e.streams import NDJSON, RAW, SSE, Stream, open_stream, send, wait_for_event
from e2e.wire import RECORD, events, reset

SOURCE = (
    RECORD
    + """
import asyncio
import threading

from potassium import Potassium, Request

app = Potassium("server")


def closed(name):
    note(f"{name} closed on {threading.current_thread().name}")


def endless(call):
    note(f"{call['name']} starts")
    try:
        while True:
            if "gate" in call:
                wait_for(call["gate"])
            yield "tok"
            note(f"{call['name']} goes on")
            time.sleep(0.005)
    finally:
        closed(call["name"])
        if call.get("ending") == "raises":
            raise ValueError("in close")
        if call.get("ending") == "yields":
            yield "one more"


@app.handler("/yields")
def yields(cache, json_in):
    yield from endless(json_in)


@app.handler("/returns", streams=4)
def returns(cache, json_in):
    return endless(json_in)


@app.handler("/async", concurrency=4)
async def asynchronous(cache, json_in):
    note(f"{json_in['name']} starts")
    try:
        while True:
            yield "tok"
            note(f"{json_in['name']} goes on")
            await asyncio.sleep(0.005)
    finally:
        closed(json_in["name"])


@app.handler("/pushes")
def pushes(cache, request: Request):
    note(f"{request.json['name']} starts")
    try:
        while not request.cancelled:
            request.send("tok")
            time.sleep(0.005)
    finally:
        closed(request.json["name"])


@app.handler("/ordinary")
def ordinary(cache, json_in):
    return "served"


if __name__ == "__main__":
    app.serve()
"""
)
THREADS = {
    "/yields": "potassium-gpu",
    "/returns": "potassium-gpu",
    "/pushes": "potassium-gpu",
    "/async": "MainThread",
}
LEAVE: dict[str, Callable[[Stream], None]] = {"closes": Stream.close, "resets": Stream.reset}
DROP: dict[str, Callable[[socket.socket], None]] = {"closes": socket.socket.close, "resets": reset}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("leaving")) as server:
        yield server


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("accept", [RAW, NDJSON, SSE])
@pytest.mark.parametrize("path", THREADS)
def test_a_client_that_leaves_its_stream_ends_it(
    server: Server, name: str, path: str, accept: str, leave: str
) -> None:
    """The generator is closed once, on its own thread; the rest is not generated."""
    with open_stream(server, path, {"name": name}, accept) as stream:
        stream.until(b"tok")
        LEAVE[leave](stream)
    end = f"{name} closed on {THREADS[path]}"
    wait_for_event(server, end)
    assert server.post("/ordinary", {}).json() == "served"
    assert (events(server, name)[-1], events(server, name).count(end)) == (end, 1)


@pytest.mark.parametrize("leave", LEAVE)
def test_a_client_that_leaves_within_a_step_ends_its_stream(
    server: Server, name: str, gate: Path, leave: str
) -> None:
    """The generator is closed after the running step, and not advanced again."""
    connection = send(server, "/yields", {"name": name, "gate": str(gate)}, RAW)
    wait_for_event(server, f"{name} starts")
    DROP[leave](connection)
    time.sleep(0.1)
    gate.touch()
    wait_for_event(server, f"{name} closed on potassium-gpu")
    assert events(server, name) == [f"{name} starts", f"{name} closed on potassium-gpu"]


@pytest.mark.parametrize("leave", LEAVE)
def test_a_client_that_leaves_before_its_turn_is_never_served(
    server: Server, name: str, leave: str
) -> None:
    """A stream that waits for another one to end is not started for a client that left."""
    with open_stream(server, "/yields", {"name": f"{name} a"}, RAW) as first:
        waiting = send(server, "/yields", {"name": f"{name} b"}, RAW)
        first.until(b"tok" * 3)
        DROP[leave](waiting)
        first.until(b"tok" * 20)
    wait_for_event(server, f"{name} a closed on potassium-gpu")
    server.post("/ordinary", {})
    assert events(server, f"{name} b") == []


@pytest.mark.parametrize("ending", ["raises", "yields"])
def test_a_generator_that_does_not_close_well_harms_nobody(
    server: Server, name: str, ending: str
) -> None:
    """A generator that raises or yields while it is closed does not stop the thread."""
    with open_stream(server, "/yields", {"name": name, "ending": ending}, RAW) as stream:
        stream.until(b"tok")
    wait_for_event(server, f"{name} closed on potassium-gpu")
    with open_stream(server, "/yields", {"name": f"{name} next"}, RAW) as after:
        assert after.until(b"tok")
    assert server.get("/healthz").status_code == 200


@pytest.mark.parametrize("leave", LEAVE)
def test_a_client_that_leaves_affects_no_other_stream(
    server: Server, name: str, leave: str
) -> None:
    """Other streams that take turns with it go on."""
    with (
        open_stream(server, "/returns", {"name": f"{name} a"}, SSE) as other,
        open_stream(server, "/returns", {"name": f"{name} b"}, SSE) as leaving,
    ):
        leaving.until(b"tok")
        LEAVE[leave](leaving)
        wait_for_event(server, f"{name} b closed on potassium-gpu")
        seen = [int(other.event().id) for _ in range(100)]
    assert seen == list(range(1, 101))


def test_a_client_that_leaves_is_no_traceback_on_the_log(server: Server, name: str) -> None:
    """A client that leaves its stream is nothing that should worry an operator."""
    before = server.log().count("Traceback")
    for path, thread in THREADS.items():
        with open_stream(server, path, {"name": f"{name} {path}"}, RAW) as stream:
            stream.until(b"tok")
        wait_for_event(server, f"{name} {path} closed on {thread}")
    assert server.log().count("Traceback") == before
