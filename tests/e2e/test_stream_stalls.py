"""Clients that read their streams slowly, or not at all."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from e2e.server import Server, serve_source, wait_until
from e2e.streams import NDJSON, RAW, SSE, Stream, open_stream, wait_for_event
from e2e.wire import RECORD, events, post

STALL = 1.0  # seconds that a client may read nothing, in tests where streams stall
CHUNK = 64 * 1024  # bytes
HUGE = 48 * 1024 * 1024  # bytes: more than the buffers on the way take
BOUND = 32 * 1024 * 1024  # bytes, at most, for a client that reads nothing; most of them are TCP's

SOURCE = (
    RECORD
    + """
import os
import threading

from potassium import Limits, Potassium, Request

hang_timeout = float(os.environ["HANG"]) if "HANG" in os.environ else None
limits = Limits(stream_stall_timeout=float(os.environ["STALL"]), hang_timeout=hang_timeout)
app = Potassium("server", limits=limits)
made = {}


def closed(name):
    note(f"{name} closed on {threading.current_thread().name}")


@app.handler("/endless", streams=4)
def endless(cache, json_in):
    while True:
        yield "tok"
        time.sleep(0.005)


@app.handler("/flood", streams=4)
def flood(cache, json_in):
    try:
        while json_in.get("chunks") is None or made.get(json_in["name"], 0) < json_in["chunks"]:
            yield "x" * json_in["size"]
            made[json_in["name"]] = made.get(json_in["name"], 0) + 1
            time.sleep(json_in.get("pause", 0))
    finally:
        closed(json_in["name"])


@app.handler("/flood/one")
def flood_one(cache, json_in):
    return endless(cache, json_in) if json_in.get("slow") else flood(cache, json_in)


@app.handler("/flood/async", concurrency=4)
async def async_flood(cache, json_in):
    try:
        while True:
            yield "x" * json_in["size"]
            made[json_in["name"]] = made.get(json_in["name"], 0) + 1
    finally:
        closed(json_in["name"])


@app.handler("/flood/pushes")
def push_flood(cache, request: Request):
    try:
        while not request.cancelled:
            request.send("x" * request.json["size"])
            made[request.json["name"]] = made.get(request.json["name"], 0) + 1
    finally:
        closed(request.json["name"])


@app.handler("/made")
async def count(cache, json_in):
    return made.get(json_in["name"], 0)


@app.handler("/ordinary")
def ordinary(cache, json_in):
    return "served"


if __name__ == "__main__":
    app.serve()
"""
)
FLOODS = {
    "/flood": "potassium-gpu",
    "/flood/async": "MainThread",
    "/flood/pushes": "potassium-gpu",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for stalled clients for as long as a test takes."""
    folder = tmp_path_factory.mktemp("patient")
    with serve_source(SOURCE, folder, env={"STALL": "60"}) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that does not wait long for stalled clients."""
    folder = tmp_path_factory.mktemp("strict")
    with serve_source(SOURCE, folder, env={"STALL": str(STALL)}) as server:
        yield server


def flood(server: Server, path: str, name: str, accept: str = RAW) -> socket.socket:
    """Ask for more than any buffer takes, on a connection with a small buffer, and read nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(post(path, {"name": name, "size": CHUNK}, accept))
    return connection


def made(server: Server, name: str) -> int:
    """Return how many chunks a handler has made."""
    number: int = server.post("/made", {"name": name}).json()
    return number


def at_rest(server: Server, name: str) -> int:
    """Wait until a flood has halted, and return the number of its chunks."""
    counts = [0, 0, 0, 0, 0]

    def halted() -> bool:
        time.sleep(0.1)
        counts.append(made(server, name))
        return 0 < counts[-5] == counts[-1]

    wait_until(halted, "an end of what is made", seconds=8)
    return counts[-1]


@pytest.mark.parametrize("accept", [RAW, NDJSON, SSE])
@pytest.mark.parametrize("path", ["/flood", "/flood/async"])
def test_a_client_that_does_not_read_takes_bounded_memory(
    server: Server, name: str, path: str, accept: str
) -> None:
    """The handler is not asked for more than a few buffers hold."""
    with flood(server, path, name, accept):
        assert at_rest(server, name) * CHUNK < BOUND
        assert events(server, name) == []  # it halted, but has not ended


@pytest.mark.parametrize("path", ["/flood", "/endless"])
def test_a_client_that_does_not_read_keeps_no_other_stream_waiting(
    server: Server, name: str, path: str
) -> None:
    """Streams of the same handler and of another one go on beside one that stalls."""
    with flood(server, "/flood", name):
        at_rest(server, name)
        body = {"name": f"{name} other", "size": 10}
        with open_stream(server, path, body, SSE) as other:
            assert [int(other.event().id) for _ in range(100)] == list(range(1, 101))


@pytest.mark.parametrize("path", ["/flood", "/flood/async"])
def test_a_client_that_does_not_read_keeps_no_call_waiting(
    server: Server, name: str, path: str
) -> None:
    """Ordinary calls are served while a stream stalls."""
    with flood(server, path, name):
        at_rest(server, name)
        assert [server.post("/ordinary", {}).json() for _ in range(5)] == ["served"] * 5


def test_a_client_that_reads_again_gets_the_rest(server: Server, name: str) -> None:
    """A pause within the allowed time loses nothing."""
    with flood(server, "/flood", name, SSE) as connection:
        halt = at_rest(server, name)
        stream = Stream(connection)
        ids = [int(stream.event().id) for _ in range(halt + 50)]
        stream.close()
    assert ids == list(range(1, halt + 51))


def test_a_client_that_reads_again_goes_on_beside_who_took_its_place(
    server: Server, name: str
) -> None:
    """The client does not wait for the other one to end, and leaves like any other."""
    with flood(server, "/flood/one", name) as connection:
        halt = at_rest(server, name)
        with open_stream(server, "/flood/one", {"name": name, "slow": True}, RAW) as other:
            other.until(b"tok")
            received = 0
            while received < (halt + 100) * CHUNK:
                received += len(connection.recv(CHUNK))
            connection.close()
            wait_for_event(server, f"{name} closed on potassium-gpu")
            assert other.until(b"tok")


def test_a_client_that_does_not_read_is_no_hang(tmp_path: Path, name: str) -> None:
    """A push that waits for its reader is not a stuck handler: the server lives on."""
    with serve_source(SOURCE, tmp_path, env={"STALL": "1.5", "HANG": "0.5"}) as server:
        with flood(server, "/flood/pushes", name):
            wait_for_event(server, f"{name} closed on potassium-gpu")
        assert server.get("/healthz").status_code == 200
        assert server.post("/ordinary", {}).json() == "served"


@pytest.mark.parametrize("accept", [RAW, SSE])
def test_a_push_to_a_client_that_reads_slowly_keeps_nobody_waiting_for_long(
    server: Server, name: str, accept: str
) -> None:
    """The handler cannot step aside, so the client loses its stream within seconds."""
    is_over = threading.Event()
    pieces: list[bytes] = []
    with flood(server, "/flood/pushes", name, accept) as connection:

        def read_slowly() -> None:
            with suppress(ConnectionResetError):
                while chunk := connection.recv(CHUNK):
                    pieces.append(chunk)
                    is_over.wait(0.05)

        reader = threading.Thread(target=read_slowly)
        reader.start()
        try:
            assert server.post("/ordinary", {}).json() == "served"
            wait_for_event(server, f"{name} closed on potassium-gpu")
        finally:
            is_over.set()
            reader.join()
    assert not pieces[-1].endswith(b"0\r\n\r\n")  # what the client got does not look whole


@pytest.mark.parametrize("accept", [RAW, SSE])
@pytest.mark.parametrize("path", FLOODS)
def test_a_stream_that_stalls_is_ended(strict: Server, name: str, path: str, accept: str) -> None:
    """A client that reads nothing for the allowed time loses its stream, and not earlier."""
    start = time.monotonic()
    with flood(strict, path, name, accept) as connection:
        wait_for_event(strict, f"{name} closed on {FLOODS[path]}")
        assert time.monotonic() - start >= STALL
        assert strict.post("/ordinary", {}).json() == "served"
        assert Stream(connection).rest()[1] is False  # what the client got does not look whole


def test_a_stream_behind_one_that_stalls_is_served(strict: Server, name: str) -> None:
    """A push into a full buffer holds the thread until the stall is over, and no longer."""
    with (
        flood(strict, "/flood/pushes", name),
        open_stream(strict, "/endless", {"name": f"{name} other"}, RAW) as behind,
    ):
        assert behind.until(b"tok")


def test_a_client_that_reads_slowly_keeps_its_stream(strict: Server, name: str) -> None:
    """Reading something now and then is enough."""
    with flood(strict, "/flood", name) as connection:
        end = time.monotonic() + 3 * STALL
        while time.monotonic() < end:
            assert connection.recv(CHUNK)
            time.sleep(0.02)
        assert events(strict, name) == []


def test_a_huge_chunk_read_slowly_is_no_stall(strict: Server, name: str) -> None:
    """A chunk may take longer than the allowed time, as long as it is being read."""
    body = {"name": name, "size": HUGE, "chunks": 1}
    received = 0
    with open_stream(strict, "/flood", body, RAW) as stream:
        start = time.monotonic()
        while piece := stream.read():
            received += len(piece)
            if received / HUGE > (time.monotonic() - start) / (3 * STALL):
                time.sleep(0.02)
    assert received == HUGE
    assert time.monotonic() - start > 2 * STALL


def test_a_slow_handler_is_no_stall(strict: Server, name: str) -> None:
    """A client that waits for the next chunk has read all there is."""
    body = {"name": name, "size": 10, "chunks": 3, "pause": 1.5 * STALL}
    with open_stream(strict, "/flood", body, RAW) as stream:
        assert stream.rest() == (b"x" * 30, True)


def test_a_stalled_stream_is_no_traceback_on_the_log(strict: Server, name: str) -> None:
    """The client that does not read is at fault, not the server."""
    before = strict.log().count("Traceback")
    with flood(strict, "/flood", name):
        wait_for_event(strict, f"{name} closed on potassium-gpu")
        strict.post("/ordinary", {})
    assert strict.log().count("Traceback") == before
