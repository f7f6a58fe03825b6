"""Clients that stop in the middle of a body, and clients that leave."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from e2e.server import Server, serve_source, wait_until
from e2e.wire import RECORD, answer, call, events, head, is_closed, post, reset

BODY_TIMEOUT = 0.3  # seconds
LATE = 2.0  # seconds that an answer may be late; without a timeout, it never comes
QUEUE_SIZE = 8  # calls

SOURCE = (
    RECORD
    + f"""
from potassium import Limits, Potassium, Request, current_request

app = Potassium("server", limits=Limits(queue_size={QUEUE_SIZE}, body_timeout={BODY_TIMEOUT}))


@app.handler("/json")
def take_json(cache, json_in):
    note(f"json {{json_in}}")
    return json_in


@app.handler("/bytes")
def take_bytes(cache, body: bytes):
    note("bytes")
    return len(body)


@app.handler("/request")
def take_request(cache, request: Request):
    note("request")
    return len(request.body)


@app.handler("/async")
async def asynchronous(cache, json_in):
    note("async")


@app.handler("/hold")
def wait(cache, json_in):
    return hold(json_in)


@app.handler("/quick")
def quick(cache, json_in):
    note(f"{{json_in['name']}} runs")
    time.sleep(json_in.get("seconds", 0))


def watch_request(request):
    note(f"{{request.json['name']}} starts")
    deadline = time.monotonic() + 5
    while not request.cancelled and time.monotonic() < deadline:
        time.sleep(0.005)
    note(f"{{request.json['name']}} cancelled: {{request.cancelled}}")


@app.handler("/watch")
def watch(cache, request: Request):
    watch_request(request)


@app.handler("/watch/current")
def watch_current(cache, json_in):
    watch_request(current_request())


@app.handler("/raise")
def leave(cache, request: Request):
    note(f"{{request.json['name']}} starts")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        request.raise_if_cancelled()
        time.sleep(0.005)


if __name__ == "__main__":
    app.serve()
"""
)
PATHS = ["/json", "/bytes", "/request", "/async"]
HALVES = {
    "half of a declared length": lambda path: head(path, "Content-Length: 100") + b'{"a": ',
    "nothing of a declared length": lambda path: head(path, "Content-Length: 100"),
    "a chunk without an end": lambda path: (
        head(path, "Transfer-Encoding: chunked") + b'6\r\n{"a": \r\n'
    ),
}
LEAVE: dict[str, Callable[[socket.socket], None]] = {"closes": socket.socket.close, "resets": reset}

Busy = Callable[[], Future[httpx.Response]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("slow")) as server:
        yield server


@pytest.fixture
def name() -> str:
    return uuid4().hex


@pytest.fixture
def busy(server: Server, pool: ThreadPoolExecutor, gate: Path) -> Busy:
    """Return a function that starts a call which holds the thread until the gate opens."""

    def start() -> Future[httpx.Response]:
        running = pool.submit(server.post, "/hold", call("holder", gate))
        wait_until(lambda: not server.status()["gpu_available"], "a handler that runs")
        return running

    return start


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("path", PATHS)
def test_half_a_body_is_answered_408_on_time(server: Server, path: str, half: str) -> None:
    """Whatever the handler takes, a body that does not arrive in time is refused."""
    with server.connect() as connection:
        start = time.perf_counter()
        connection.sendall(HALVES[half](path))
        error = answer(connection).error()
        seconds = time.perf_counter() - start
    assert error == (408, "body_timeout")
    assert BODY_TIMEOUT - 0.01 <= seconds < BODY_TIMEOUT + LATE


@pytest.mark.parametrize("half", HALVES)
def test_half_a_body_closes_its_connection(server: Server, half: str) -> None:
    """After the 408 the connection is closed, because anything could follow on it."""
    with server.connect(timeout=2) as connection:
        connection.sendall(HALVES[half]("/json"))
        answer(connection)
        assert is_closed(connection)


def test_a_body_that_comes_byte_by_byte_is_answered_408_on_time(server: Server) -> None:
    """Sending a byte now and then does not give a client more time."""
    with server.connect() as connection:
        connection.settimeout(0.02)
        start = time.perf_counter()
        connection.sendall(head("/json", "Content-Length: 1000"))
        received = b""
        while not received and time.perf_counter() - start < 5:
            connection.sendall(b" ")
            try:
                received = connection.recv(100)
            except TimeoutError:
                continue
    assert received.startswith(b"HTTP/1.1 408 ")
    assert time.perf_counter() - start < BODY_TIMEOUT + LATE


def test_a_body_in_two_parts_within_its_time_is_taken(server: Server) -> None:
    """A pause alone is not a fault."""
    body = b'{"a": 1}'
    with server.connect() as connection:
        connection.sendall(head("/json", "Content-Length: 8") + body[:4])
        time.sleep(BODY_TIMEOUT / 3)
        connection.sendall(body[4:])
        taken = answer(connection)
    assert (taken.status, json.loads(taken.body)) == (200, {"a": 1})


def test_the_time_for_a_body_is_not_the_time_for_an_answer(server: Server, gate: Path) -> None:
    """A call whose body has arrived may take longer than ``body_timeout``."""
    with server.connect() as connection:
        connection.sendall(post("/hold", call("long", gate)))
        time.sleep(2 * BODY_TIMEOUT)
        gate.touch()
        assert answer(connection).status == 200


def test_an_idle_connection_has_no_body_to_wait_for(server: Server) -> None:
    """A connection may be idle between two calls for longer than ``body_timeout``."""
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(post("/json", {}))
            assert answer(connection).status == 200
            time.sleep(2 * BODY_TIMEOUT)


def test_half_a_body_holds_no_place_in_the_queue(server: Server, busy: Busy) -> None:
    """More half bodies than the queue has places leave it empty, and the server ready."""
    busy()
    with ExitStack() as stack:
        for _ in range(2 * QUEUE_SIZE):
            connection = stack.enter_context(server.connect())
            connection.sendall(HALVES["half of a declared length"]("/json"))
        server.get("/healthz")
        assert server.status()["queue"]["length"] == 0
        assert server.get("/readyz").status_code == 200


def test_half_a_body_never_reaches_a_handler(server: Server) -> None:
    """The part of a body that arrived is dropped if the body does not end."""
    before = events(server)
    for path in PATHS:
        with server.connect() as connection:
            connection.sendall(HALVES["half of a declared length"](path))
            answer(connection)
    assert events(server) == before


@pytest.mark.parametrize("leave", LEAVE)
def test_a_client_that_leaves_within_its_body_never_reaches_a_handler(
    server: Server, leave: str
) -> None:
    """Half a body and the end of the connection are neither a call nor a server error."""
    before = events(server)
    for path in PATHS:
        connection = server.connect()
        connection.sendall(HALVES["half of a declared length"](path))
        time.sleep(0.05)
        LEAVE[leave](connection)
    time.sleep(0.1)
    assert events(server) == before
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("leave", LEAVE)
def test_a_client_that_leaves_the_queue_is_never_served(
    server: Server, busy: Busy, gate: Path, name: str, leave: str
) -> None:
    """However the connection ends, the call gives up its place and does not run."""
    running = busy()
    connection = server.connect()
    connection.sendall(post("/quick", {"name": name}))
    wait_until(lambda: server.status()["queue"]["length"] == 1, "a call in the queue")
    LEAVE[leave](connection)
    wait_until(lambda: server.status()["queue"]["length"] == 0, "an empty queue")
    gate.touch()
    running.result()
    server.post("/json", {})
    assert events(server, name) == []


def test_a_client_that_leaves_a_group_is_never_served(
    server: Server, busy: Busy, gate: Path, name: str
) -> None:
    """Fast calls that were handed over behind a slow one are skipped when their clients leave."""
    with server.client() as http:
        for _ in range(200):  # the server learns that these take microseconds
            http.post("/quick", json={"name": "warm"})
    busy()
    with ExitStack() as stack:
        slow = stack.enter_context(server.connect())
        slow.sendall(post("/quick", {"name": "slow", "seconds": 0.5}))
        wait_until(lambda: server.status()["queue"]["length"] == 1, "the slow call in the queue")
        fast = [stack.enter_context(server.connect()) for _ in range(QUEUE_SIZE - 1)]
        for connection in fast:
            connection.sendall(post("/quick", {"name": name}))
        wait_until(lambda: server.status()["queue"]["length"] == QUEUE_SIZE, "a full queue")
        slow_runs = events(server, "slow")
        gate.touch()
        wait_until(lambda: events(server, "slow") != slow_runs, "the slow call at work")
        for connection in fast:
            connection.close()
        assert answer(slow).status == 200
    server.post("/json", {})
    assert events(server, name) == []


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("path", ["/watch", "/watch/current"])
def test_a_handler_sees_that_its_client_has_left(
    server: Server, name: str, path: str, leave: str
) -> None:
    """``request.cancelled`` soon becomes true, also for ``current_request()``."""
    connection = server.connect()
    connection.sendall(post(path, {"name": name}))
    wait_until(lambda: events(server, name), "the handler at work")
    LEAVE[leave](connection)
    wait_until(lambda: len(events(server, name)) == 2, "the handler's end", seconds=2)
    assert events(server, name)[1] == f"{name} cancelled: True"


def test_a_handler_may_leave_with_its_client(server: Server, name: str) -> None:
    """``raise_if_cancelled`` frees the thread for the next call, and logs no error."""
    with server.connect() as connection:
        connection.sendall(post("/raise", {"name": name}))
        wait_until(lambda: events(server, name), "the handler at work")
    with server.client(timeout=2) as http:
        assert http.post("/json", json={}).status_code == 200
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("leave", LEAVE)
def test_a_client_that_leaves_its_handler_affects_nobody_else(
    server: Server, pool: ThreadPoolExecutor, gate: Path, name: str, leave: str
) -> None:
    """Calls behind the one whose client left are served, each with its own result."""
    connection = server.connect()
    connection.sendall(post("/hold", call(name, gate)))
    wait_until(lambda: events(server, name), "the handler at work")
    behind = [pool.submit(server.post, "/json", {"n": number}) for number in range(5)]
    wait_until(lambda: server.status()["queue"]["length"] == 5, "calls in the queue")
    LEAVE[leave](connection)
    time.sleep(0.1)
    gate.touch()
    assert [waiting.result().json() for waiting in behind] == [{"n": n} for n in range(5)]


def test_nothing_runs_beside_a_handler_whose_client_has_left(
    server: Server, pool: ThreadPoolExecutor, gate: Path, name: str
) -> None:
    """The thread counts as busy until the handler really returns."""
    with server.connect() as connection:
        connection.sendall(post("/hold", call(f"{name} left", gate)))
        wait_until(lambda: events(server, name), "the handler at work")
    after = pool.submit(server.post, "/hold", call(f"{name} next", gate))
    time.sleep(0.2)
    busy = not server.status()["gpu_available"]
    gate.touch()
    after.result()
    assert busy
    assert events(server, name) == [
        f"{name} left starts",
        f"{name} left ends",
        f"{name} next starts",
        f"{name} next ends",
    ]
