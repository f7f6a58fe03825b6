"""The pages for operators, and a full queue."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from e2e.server import Server, error, serve_source, wait_until

QUEUE_SIZE = 4  # calls

SOURCE = f"""
import pathlib
import time

from potassium import Limits, Potassium

app = Potassium("server", limits=Limits(queue_size={QUEUE_SIZE}))


@app.handler
def handler(cache, json_in):
    return 1


notes = []


@app.handler("/note")
def note(cache, json_in):
    notes.append(json_in)


@app.handler("/notes")
def count(cache, json_in):
    return len(notes)


@app.handler("/wait")
def wait(cache, json_in):
    '''Hold the thread until a file is there.'''
    while not pathlib.Path(json_in["gate"]).exists():
        time.sleep(0.005)
    return json_in.get("name")


@app.handler("/compute")
def compute(cache, json_in):
    '''Hold the thread and the interpreter until a file is there.'''
    while not pathlib.Path(json_in["gate"]).exists():
        sum(range(100_000))


if __name__ == "__main__":
    app.serve()
"""
PAGES = ["/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup"]

Busy = Callable[[str], Future[httpx.Response]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("operating")) as server:
        yield server


@pytest.fixture
def busy(server: Server, pool: ThreadPoolExecutor, gate: Path) -> Busy:
    """Return a function that starts a call which holds the thread until the gate opens."""

    def start(path: str) -> Future[httpx.Response]:
        call = pool.submit(server.post, path, {"gate": str(gate)})
        wait_until(lambda: not server.status()["gpu_available"], "a handler that runs")
        return call

    return start


def seconds_to_answer(server: Server, path: str) -> float:
    """Return the median of five tries, so that a busy test machine does not matter."""
    times = []
    with server.client() as http:
        http.get("/healthz")
        for _ in range(5):
            start = time.perf_counter()
            http.get(path)
            times.append(time.perf_counter() - start)
    return sorted(times)[2]


@pytest.mark.parametrize("path", PAGES)
def test_a_ready_server_answers_200_on_every_page(server: Server, path: str) -> None:
    """Health, readiness, status and warm-up all answer 200."""
    assert server.get(path).status_code == 200


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("work", ["/wait", "/compute"])
def test_pages_answer_at_once_while_a_handler_runs(
    server: Server, busy: Busy, work: str, path: str
) -> None:
    """They do not wait for the handler that holds the thread, even if it also holds the GIL."""
    busy(work)
    assert seconds_to_answer(server, path) < 1  # it goes on until the test ends


def test_a_busy_server_is_alive(server: Server, busy: Busy) -> None:
    """A running handler does not turn liveness red."""
    busy("/wait")
    assert server.get("/healthz").status_code == 200


def test_a_busy_server_is_ready(server: Server, busy: Busy) -> None:
    """A running handler does not turn readiness red while the queue has room."""
    busy("/wait")
    assert server.get("/readyz").status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_warmup_says_that_the_model_is_loaded(server: Server, method: str) -> None:
    """GET and POST both answer ``{"warm": true}``."""
    with server.client() as http:
        assert http.request(method, "/_k/warmup").json() == {"warm": True}


def test_both_status_pages_say_the_same(server: Server) -> None:
    """/__status__ has the same members as /_k/status."""
    assert server.get("/__status__").json().keys() == server.status().keys()


def test_status_says_that_the_server_is_ready(server: Server) -> None:
    """The members include the state."""
    assert server.status()["state"].lower() == "ready"


def test_the_sequence_number_counts_calls(server: Server) -> None:
    """Each call raises the sequence number by one."""
    before = server.status()["sequence_number"]
    for _ in range(3):
        server.post("/", {})
    assert server.status()["sequence_number"] - before == 3


def test_the_gpu_is_available_after_a_call(server: Server) -> None:
    """Nothing holds the GPU when no call runs."""
    server.post("/", {})
    assert server.status()["gpu_available"] is True


def test_the_gpu_is_not_available_during_a_call(server: Server, busy: Busy) -> None:
    """A call holds the GPU."""
    busy("/wait")
    assert server.status()["gpu_available"] is False


def test_idle_time_grows_while_no_call_runs(server: Server) -> None:
    """``idle_time`` is in milliseconds."""
    server.post("/", {})
    before = server.status()["idle_time"]
    time.sleep(0.1)
    assert 90 <= server.status()["idle_time"] - before < 2000


def test_inference_time_grows_while_a_call_runs(server: Server, busy: Busy) -> None:
    """``inference_time`` is in milliseconds."""
    busy("/wait")
    before = server.status()["inference_time"]
    time.sleep(0.1)
    assert 90 <= server.status()["inference_time"] - before < 2000


@pytest.fixture
def full(server: Server, busy: Busy, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """A running call, a full queue behind it, and many more calls, which have been refused.

    The first of the calls is the running one.
    """
    running = busy("/wait")
    calls = [pool.submit(server.post, "/", {}) for _ in range(20)]
    wait_until(
        lambda: sum(call.done() for call in calls) == 20 - QUEUE_SIZE, "all but the queued refused"
    )
    return [running, *calls]


def refused(calls: list[Future[httpx.Response]]) -> list[httpx.Response]:
    return [call.result() for call in calls if call.done()]


def test_a_full_queue_refuses_at_once(full: list[Future[httpx.Response]]) -> None:
    """Calls beyond the queue are answered 503 while the running call goes on."""
    assert {error(response) for response in refused(full)} == {(503, "queue_full")}


def test_what_fits_the_queue_is_served(full: list[Future[httpx.Response]], gate: Path) -> None:
    """Exactly the running call and those in the queue are served."""
    gate.touch()
    statuses = [call.result().status_code for call in full]
    assert statuses.count(200) == 1 + QUEUE_SIZE


def test_a_refused_call_is_told_when_to_come_back(full: list[Future[httpx.Response]]) -> None:
    """``Retry-After`` is between 1 and 60 whole seconds."""
    times = {int(response.headers["retry-after"]) for response in refused(full)}
    assert times <= set(range(1, 61))


def test_a_full_server_is_not_ready(server: Server, full: object) -> None:
    """Readiness is 503 while the queue has no room."""
    assert server.get("/readyz").status_code == 503


def test_a_full_server_is_alive(server: Server, full: object) -> None:
    """Liveness is 200 while the queue has no room."""
    assert server.get("/healthz").status_code == 200


def test_a_server_that_was_full_serves_again(
    server: Server, full: list[Future[httpx.Response]], gate: Path
) -> None:
    """Once the queue is empty, calls are admitted again."""
    gate.touch()
    for call in full:
        call.result()
    assert server.post("/", {}).status_code == 200


def test_a_call_whose_client_left_gives_its_place_back(
    server: Server, busy: Busy, pool: ThreadPoolExecutor, gate: Path
) -> None:
    """When the clients of a full queue have left, the next call finds room."""
    busy("/wait")
    left = [server.connect() for _ in range(QUEUE_SIZE)]
    for connection in left:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )
    wait_until(lambda: server.get("/readyz").status_code == 503, "a full queue")
    for connection in left:
        connection.close()
    wait_until(lambda: server.get("/readyz").status_code == 200, "a queue with room")
    call = pool.submit(server.post, "/", {})
    gate.touch()
    assert call.result().status_code == 200


def test_a_call_whose_client_left_is_not_run(server: Server, busy: Busy, gate: Path) -> None:
    """Nobody waits for the result, so the handler is not called."""
    running = busy("/wait")
    before = server.status()["queue"]["length"]
    with server.connect() as connection:
        connection.sendall(
            b"POST /note HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )
        wait_until(lambda: server.status()["queue"]["length"] > before, "a call in the queue")
    time.sleep(0.1)  # the server has to notice
    gate.touch()
    running.result()
    assert server.post("/notes", {}).json() == 0
