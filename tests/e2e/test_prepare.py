"""Work before and after the queue, off the GPU thread."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGTERM

import pytest
from e2e.batches import APP, batches, items, outcome, outcomes, waiting
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.streams import send, wait_for_event
from e2e.wire import answer, events

TIMEOUT = 0.5  # seconds, for the handler that has a timeout
FAILED = (500, "handler_error")

SOURCE = (
    APP
    + f"""
from starlette.exceptions import HTTPException


def at(place, item):
    thread = threading.current_thread().name
    where = {{"potassium-gpu": "on the GPU thread", "MainThread": "on the loop"}}
    note(f"{{item['name']}} {{place}} {{where.get(thread, 'beside')}}")
    if item["fault"] == f"waits in {{place}}":
        wait_for(item["gate"])
    if item["fault"] == f"raises in {{place}}":
        raise ValueError("hidden-4711")
    if item["fault"] == f"409 in {{place}}":
        raise HTTPException(409, detail="Not today.")


def prepare(item: Item):
    at("prepare", dict(item))
    return {{**dict(item), "steps": ["prepare"]}}


def work(cache, item):
    at("work", item)
    return {{**item, "steps": [*item["steps"], "work"]}}


def work_on_all(cache, items):
    begin(items)
    return [work(cache, item) for item in items]


def finish(result):
    at("finish", result)
    return [*result["steps"], "finish", result["number"]]


@app.init
def init():
    return {{"model": "from init"}}


app.handler("/alone", prepare=prepare, finish=finish)(work)
app.handler("/batch", prepare=prepare, finish=finish, batch=Batch(max_size=8))(work_on_all)
app.handler("/timeout", prepare=prepare, finish=finish, timeout={TIMEOUT})(work)


def prepare_with_cache(cache, item: Item):
    return (cache["model"], item.number)


def finish_with_cache(cache, result):
    return [*result, cache["model"]]


@app.handler("/cache", prepare=prepare_with_cache, finish=finish_with_cache)
def with_cache(cache, item):
    return [*item, "work"]


@app.handler("/object", prepare=lambda item: item)
def plain(cache, item):
    return item


def measure(image: bytes):
    return len(image)


@app.handler("/bytes", batch=Batch(max_size=8), prepare=measure)
def measured(cache, sizes):
    return sizes


@app.handler("/response", finish=lambda result: Response(body=result, status=201))
def respond(cache, json_in):
    return b"\\x00\\xff"


if __name__ == "__main__":
    app.serve()
"""
)
PATHS = pytest.mark.parametrize("path", ["/alone", "/batch"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("prepare")) as server:
        yield server


def done(number: int) -> list[object]:
    """Return the result of an input that has passed all three functions."""
    return ["prepare", "work", "finish", number]


@PATHS
def test_a_call_goes_through_all_three(server: Server, name: str, path: str) -> None:
    """The handler gets what ``prepare`` returns, and ``finish`` gets what the handler returns."""
    assert server.post(path, {"name": name, "number": 3}).json() == done(3)


def test_each_input_of_a_batch_goes_through_all_three(
    server: Server, name: str, gate: Path
) -> None:
    """``prepare`` and ``finish`` take one input each, and the handler takes a list."""
    results = outcomes(server, gate, "/batch", items(name, 8), noted=f"{name} prepare")
    assert results == [done(n) for n in range(8)]
    assert [len(batch) for batch in batches(server, name)] == [8]


@PATHS
def test_only_the_middle_runs_on_the_gpu_thread(server: Server, name: str, path: str) -> None:
    """``prepare`` and ``finish`` run in worker threads, not on the event loop."""
    server.post(path, {"name": name, "number": 3})
    assert [line for line in events(server, name) if "batch" not in line] == [
        f"{name} prepare beside",
        f"{name} work on the GPU thread",
        f"{name} finish beside",
    ]


def test_both_may_take_the_cache(server: Server, name: str) -> None:
    """``prepare(cache, item)`` and ``finish(cache, result)`` see what ``init`` returned."""
    response = server.post("/cache", {"name": name, "number": 3})
    assert response.json() == ["from init", 3, "work", "from init"]


@PATHS
def test_the_annotation_of_prepare_binds_the_input(server: Server, name: str, path: str) -> None:
    """Input that does not validate is answered 422, and nothing runs for it."""
    assert error(server.post(path, {"name": name, "number": "x"})) == (422, "invalid_input")
    assert events(server, name) == []


def test_a_prepare_without_an_annotation_takes_objects(server: Server) -> None:
    """Without an annotation, ``prepare`` gets the JSON object, as a handler does."""
    assert server.post("/object", {"a": 1}).json() == {"a": 1}
    assert error(server.post("/object", [1])) == (422, "invalid_input")


def test_a_prepare_may_take_bytes(server: Server) -> None:
    """An image is sent as it is, and decoded off the GPU thread."""
    response = server.post("/bytes", content=b"\x00\xff", headers={"Content-Type": "image/png"})
    assert response.json() == 2


def test_what_finish_returns_is_the_answer(server: Server) -> None:
    """``finish`` may return whatever a handler may return."""
    response = server.post("/response", {})
    assert (response.status_code, response.content) == (201, b"\x00\xff")


def test_inputs_are_prepared_while_the_gpu_thread_is_held(
    server: Server, name: str, gate: Path
) -> None:
    """When the thread becomes free, its inputs are ready."""
    with waiting(server, gate, "/batch", items(name, 4)) as connections:
        prepared = f"{name} prepare beside"
        wait_until(lambda: events(server, name) == [prepared] * 4, "prepared inputs")
        gate.touch()
        assert [outcome(answer(connection)) for connection in connections] == [
            done(number) for number in range(4)
        ]


@PATHS
@pytest.mark.parametrize("place", ["prepare", "finish"])
def test_work_beside_the_gpu_thread_does_not_hold_it(
    server: Server, name: str, gate: Path, path: str, place: str
) -> None:
    """While one call is prepared or finished, others are served, even of the same handler."""
    slow = {"name": name, "number": 1, "fault": f"waits in {place}", "gate": str(gate)}
    with send(server, path, slow) as connection:
        wait_for_event(server, f"{name} {place} beside")
        assert server.post("/ordinary", {}).json() == "served"
        assert server.post(path, {"name": f"{name} next", "number": 2}).json() == done(2)
        gate.touch()
        assert outcome(answer(connection)) == done(1)


@PATHS
@pytest.mark.parametrize("place", ["prepare", "work", "finish"])
def test_an_error_is_the_same_wherever_it_is_raised(
    server: Server, name: str, path: str, place: str
) -> None:
    """The answer is a 500, or the ``HTTPException``'s status, as if the three were one function."""
    raising = {"name": name, "number": 1, "fault": f"raises in {place}"}
    conflict = {"name": name, "number": 1, "fault": f"409 in {place}"}
    assert error(server.post(path, raising)) == FAILED
    assert server.post(path, conflict).status_code == 409


@pytest.mark.parametrize("place", ["prepare", "work", "finish"])
def test_one_input_that_fails_fails_alone(
    server: Server, name: str, gate: Path, place: str
) -> None:
    """Wherever one input raises, its batch-mates get their results."""
    bodies = items(name, 4, _2=f"raises in {place}")
    failing = bodies.pop(2)
    with waiting(server, gate, "/batch", bodies) as connections:
        with send(server, "/batch", failing) as culprit:
            if place != "prepare":
                wait_until(lambda: server.status()["queue"]["length"] == 4, "all in the queue")
            gate.touch()
            assert answer(culprit).error() == FAILED
        results = [outcome(answer(connection)) for connection in connections]
    assert results == [done(0), done(1), done(3)]


@pytest.mark.parametrize("place", ["prepare", "finish"])
def test_an_error_is_on_the_log_under_its_request(server: Server, name: str, place: str) -> None:
    """The traceback is logged under the request id, and stays on the server."""
    body = {"name": name, "number": 1, "fault": f"raises in {place}"}
    response = server.post("/alone", body, headers={"X-Request-Id": name})
    assert "hidden-4711" not in response.text
    _, _, entry = server.log().partition(name)
    assert "ValueError: hidden-4711" in entry


@pytest.mark.parametrize("place", ["prepare", "work", "finish"])
def test_a_deadline_holds_for_all_three_together(
    server: Server, name: str, gate: Path, place: str
) -> None:
    """A call is answered 504 on time wherever it loses the time; later steps do not run."""
    slow = {"name": name, "number": 1, "fault": f"waits in {place}", "gate": str(gate)}
    with send(server, "/timeout", slow) as connection:
        assert answer(connection).error() == (504, "deadline_exceeded")
    gate.touch()
    server.post("/alone", {"name": "after", "number": 1})
    time.sleep(0.1)
    last = events(server, name)[-1].removeprefix(f"{name} ")
    assert last.startswith(place)


def test_a_client_that_leaves_before_the_queue_costs_no_gpu_time(
    server: Server, name: str, gate: Path
) -> None:
    """An input that is prepared for nobody does not run."""
    slow = {"name": name, "number": 1, "fault": "waits in prepare", "gate": str(gate)}
    with send(server, "/alone", slow):
        wait_for_event(server, f"{name} prepare beside")
    time.sleep(0.1)
    gate.touch()
    time.sleep(0.1)
    server.post("/alone", {"name": "after", "number": 1})
    assert events(server, name) == [f"{name} prepare beside"]


@PATHS
def test_each_caller_gets_its_own_result(
    server: Server, name: str, path: str, pool: ThreadPoolExecutor
) -> None:
    """Under load from many connections, no result goes to another caller."""

    def calls(caller: int) -> list[bool]:
        with server.client() as http:
            numbers = [caller * 1000 + number for number in range(10)]
            return [
                http.post(path, json={"name": name, "number": number}).json() == done(number)
                for number in numbers
            ]

    assert all(all(own) for own in pool.map(calls, range(16)))


@PATHS
@pytest.mark.parametrize("place", ["prepare", "finish"])
def test_a_drain_waits_for_all_three(
    start: Start, name: str, gate: Path, path: str, place: str
) -> None:
    """An admitted call is answered, wherever the signal finds it, and the end is clean."""
    server = start(SOURCE)
    slow = {"name": name, "number": 1, "fault": f"waits in {place}", "gate": str(gate)}
    with send(server, path, slow) as connection:
        wait_for_event(server, f"{name} {place} beside")
        server.process.send_signal(SIGTERM)
        wait_until(lambda: server.get("/readyz").status_code == 503, "the drain")
        gate.touch()
        assert outcome(answer(connection)) == done(1)
    assert server.process.wait(10) == 0
