"""What a deadline does to a call: in the queue, in the handler, and while the model loads."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from uuid import uuid4

import httpx
import pytest
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.wire import RECORD, answer, call, events, post

TIMEOUT = 0.3  # seconds, unless a handler has its own
LATE = 2.0  # seconds that an answer may come after its deadline; handlers hold until a test ends
QUEUE_SIZE = 32  # calls

SOURCE = (
    RECORD
    + f"""
from potassium import Limits, Potassium, Request, current_request

app = Potassium("server", limits=Limits(queue_size={QUEUE_SIZE}, timeout={TIMEOUT}))


@app.handler("/patient", timeout=20)
def patient(cache, json_in):
    return hold(json_in)


@app.handler("/default")
def default(cache, json_in):
    return hold(json_in)


@app.handler("/quick", timeout=20)
def quick(cache, json_in):
    note(f"{{json_in['name']}} runs")
    time.sleep(json_in.get("seconds", 0))


@app.handler("/nothing", timeout=20)
def nothing(cache, json_in):
    return None


def watch_request(request):
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
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        request.raise_if_cancelled()
        time.sleep(0.005)


@app.handler("/remaining", timeout=10)
def remaining(cache, request: Request):
    return request.deadline - time.monotonic()


@app.handler("/async")
async def asynchronous(cache, json_in):
    import asyncio

    await asyncio.sleep(5)


if __name__ == "__main__":
    app.serve()
"""
)

Busy = Callable[[], Future[httpx.Response]]
Timed = tuple[float, httpx.Response]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("deadlines")) as server:
        yield server


@pytest.fixture
def name() -> str:
    return uuid4().hex


@pytest.fixture
def busy(server: Server, pool: ThreadPoolExecutor, gate: Path) -> Busy:
    """Return a function that starts a call which holds the thread until the gate opens."""

    def start() -> Future[httpx.Response]:
        running = pool.submit(server.post, "/patient", call("holder", gate))
        wait_until(lambda: not server.status()["gpu_available"], "a handler that runs")
        return running

    return start


def timed(server: Server, path: str, body: object, headers: dict[str, str] | None = None) -> Timed:
    """Call on an open connection; return the seconds it took and the answer."""
    with server.client() as http:
        http.get("/healthz")
        start = time.perf_counter()
        response = http.post(path, json=body, headers=headers)
        return time.perf_counter() - start, response


def assert_punctual(answers: list[Timed], deadline: float) -> None:
    """Check that each answer is a 504, that none is early, and that their median is on time."""
    assert {error(response) for _, response in answers} == {(504, "deadline_exceeded")}
    assert min(seconds for seconds, _ in answers) >= deadline - 0.01
    assert median(seconds for seconds, _ in answers) < deadline + LATE


def test_a_deadline_that_passes_in_the_queue_is_answered_on_time(
    server: Server, busy: Busy, pool: ThreadPoolExecutor, gate: Path
) -> None:
    """A call that waits behind another is answered 504 when its deadline passes, not later."""
    busy()
    calls = [pool.submit(timed, server, "/default", call("queued", gate)) for _ in range(5)]
    assert_punctual([waiting.result() for waiting in calls], TIMEOUT)


def test_a_call_whose_deadline_passed_in_the_queue_is_never_run(
    server: Server, busy: Busy, gate: Path, name: str
) -> None:
    """After its 504 a call is gone: it never reaches the thread."""
    running = busy()
    server.post("/default", call(name, gate))
    gate.touch()
    running.result()
    server.post("/nothing", {})
    assert events(server, name) == []


def test_a_call_whose_deadline_passed_gives_its_place_back(
    server: Server, busy: Busy, gate: Path
) -> None:
    """A full queue has room again once its calls have been answered 504."""
    busy()
    before = server.status()["queue"]["length"]
    with ExitStack() as stack:
        waiting = [stack.enter_context(server.connect()) for _ in range(QUEUE_SIZE - before)]
        for connection in waiting:
            connection.sendall(post("/default", call("queued", gate)))
        assert {answer(connection).error() for connection in waiting} == {
            (504, "deadline_exceeded")
        }
    assert server.status()["queue"]["length"] == 0
    assert server.get("/readyz").status_code == 200


def test_a_deadline_holds_for_fast_calls_behind_a_slow_one(
    server: Server, busy: Busy, gate: Path, name: str
) -> None:
    """Calls that are handed over together are skipped one by one when their deadlines pass."""
    with server.client() as http:
        for _ in range(200):  # the server learns that these take microseconds
            http.post("/nothing", json={})
            http.post("/quick", json={"name": "warm"})
    busy()
    with ExitStack() as stack:
        slow = stack.enter_context(server.connect())
        slow.sendall(post("/quick", {"name": "slow", "seconds": 1.0}))
        wait_until(lambda: server.status()["queue"]["length"] == 1, "the slow call in the queue")
        fast = [stack.enter_context(server.connect()) for _ in range(16)]
        start = time.perf_counter()
        for connection in fast:
            connection.sendall(post("/quick", {"name": name}, "Prefer: wait=0.5"))
        wait_until(lambda: server.status()["queue"]["length"] == 17, "all calls in the queue")
        gate.touch()
        errors = {answer(connection).error() for connection in fast}
        seconds = time.perf_counter() - start
        assert answer(slow).status == 200
    server.post("/nothing", {})
    assert (errors, events(server, name)) == ({(504, "deadline_exceeded")}, [])
    assert seconds < 0.5 + LATE


def test_a_deadline_that_passes_in_the_handler_is_answered_on_time(
    server: Server, gate: Path
) -> None:
    """A running call is answered 504 when its deadline passes, though its handler goes on."""
    answered = timed(server, "/default", call("late", gate))
    assert not server.status()["gpu_available"]
    assert_punctual([answered], TIMEOUT)


def test_queueing_and_running_share_one_deadline(
    server: Server, busy: Busy, pool: ThreadPoolExecutor, gate: Path, tmp_path: Path
) -> None:
    """A call that has waited for most of its time has only the rest to run."""
    busy()
    late = pool.submit(timed, server, "/default", call("late", tmp_path / "later"))
    time.sleep(TIMEOUT * 2 / 3)
    gate.touch()
    assert_punctual([late.result()], TIMEOUT)
    (tmp_path / "later").touch()


def test_nothing_runs_beside_a_handler_that_is_late(
    server: Server, pool: ThreadPoolExecutor, gate: Path, name: str
) -> None:
    """After the 504, the next call starts only when the late handler has really returned."""
    server.post("/default", call(f"{name} late", gate))
    after = pool.submit(server.post, "/patient", call(f"{name} next", gate))
    time.sleep(0.2)
    before = events(server, name)
    gate.touch()
    after.result()
    assert before == [f"{name} late starts"]
    assert events(server, name) == [
        f"{name} late starts",
        f"{name} late ends",
        f"{name} next starts",
        f"{name} next ends",
    ]


def test_the_thread_counts_as_busy_until_a_late_handler_returns(server: Server, gate: Path) -> None:
    """After the 504, the status page still shows the thread at work on the late handler."""
    server.post("/default", call("late", gate))
    busy = server.status()["gpu_available"]
    gate.touch()
    wait_until(lambda: server.status()["gpu_available"], "the end of the late handler")
    assert busy is False


def test_a_late_result_reaches_nobody(server: Server, gate: Path, name: str) -> None:
    """The connection's next answer is the next call's own, and no traceback is logged."""
    opened = gate.with_name("opened")
    opened.touch()
    with server.client() as http:
        assert http.post("/default", json=call("late", gate)).status_code == 504
        gate.touch()
        assert http.post("/patient", json=call(name, opened)).json() == name
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("path", ["/watch", "/watch/current"])
def test_a_handler_sees_that_its_deadline_has_passed(server: Server, path: str, name: str) -> None:
    """``request.cancelled`` becomes true, for the argument and for ``current_request()``."""
    server.post(path, {"name": name})
    wait_until(lambda: events(server, name), "what the handler saw")
    assert events(server, name) == [f"{name} cancelled: True"]


def test_a_handler_may_leave_at_its_deadline(server: Server) -> None:
    """``raise_if_cancelled`` frees the thread for the next call."""
    answered = timed(server, "/raise", {})
    seconds, response = timed(server, "/nothing", {})
    assert_punctual([answered], TIMEOUT)
    assert (response.status_code, seconds < 1) == (200, True)


def test_a_deadline_is_no_traceback_on_the_log(server: Server, gate: Path) -> None:
    """A 504 logs no traceback, wherever the deadline passed: nothing has gone wrong."""
    server.post("/raise", {})
    server.post("/default", call("late", gate))
    assert "Traceback" not in server.log()


def test_a_deadline_ends_an_async_handler_on_time(server: Server) -> None:
    """An ``async def`` handler has the same deadline, and a late one delays no other call."""
    assert_punctual([timed(server, "/async", {}), timed(server, "/async", {})], TIMEOUT)


@pytest.mark.parametrize("prefer", ["wait=0.5", "respond-async;x=1, WAIT = 0.5"])
def test_a_client_may_shorten_its_deadline(server: Server, gate: Path, prefer: str) -> None:
    """``Prefer: wait=S`` is answered 504 after S seconds, though the handler allows more."""
    answered = timed(server, "/patient", call("late", gate), {"Prefer": prefer})
    assert_punctual([answered], 0.5)


def test_a_client_cannot_lengthen_its_deadline(server: Server, gate: Path) -> None:
    """``Prefer: wait=60`` leaves the handler's timeout as it is."""
    answered = timed(server, "/default", call("late", gate), {"Prefer": "wait=60"})
    assert_punctual([answered], TIMEOUT)


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "wait=nan", "wait", "wait=,", "é"])
def test_a_preference_that_makes_no_sense_is_ignored(server: Server, prefer: str) -> None:
    """A value that is not a number of seconds changes nothing (RFC 7240, section 2)."""
    headers = {b"Prefer": prefer.encode("latin-1")}
    with server.client() as http:
        assert 9 < http.post("/remaining", json={}, headers=headers).json() <= 10


def test_a_handler_sees_its_deadline(server: Server) -> None:
    """``request.deadline`` is when the client stops waiting, on the monotonic clock."""
    response = server.post("/remaining", {}, headers={"Prefer": "wait=5"})
    assert 4 < response.json() <= 5


def test_a_deadline_that_passes_while_the_model_loads_is_answered_on_time(
    start: Start, tmp_path: Path
) -> None:
    """A first request that waits for ``init`` is answered 503 ``starting`` at its deadline."""
    gate = tmp_path / "gate"
    init = f"""
@app.init
def init():
    note("init")
    wait_for({str(gate)!r})
    return {{}}


@app.handler("/patient", """
    server = start(
        SOURCE.replace('@app.handler("/patient", ', init),
        target="app",
        arguments=["--lifespan", "off"],
        ready="/healthz",
    )
    seconds, response = timed(server, "/default", call("first", gate))
    assert error(response) == (503, "starting")
    assert TIMEOUT - 0.01 <= seconds < TIMEOUT + LATE
    gate.touch()
    assert server.post("/nothing", {}).status_code == 200
    assert events(server) == ["init"]
