"""Calls that run together: what the handler gets, and who gets which result."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e.batches import APP, batches, items, outcomes, together, waiting
from e2e.server import Server, Start, error, serve_source, wait_until
from e2e.wire import answer, events

PATIENT = 8.0  # seconds that a client waits; ``max_delay`` is far longer

SOURCE = (
    APP
    + """
import numpy


def tens(items):
    begin(items)
    return [item.number * 10 for item in items]


@app.handler("/batch", batch=Batch(max_size=8, max_delay=0.01))
def batch(cache, items: list[Item]):
    return tens(items)


@app.handler("/yields", batch=Batch(max_size=8, max_delay=0.01))
def yields(cache, items: list[Item]):
    yield from tens(items)


@app.handler("/delay", batch=Batch(max_size=4, max_delay=30))
def delay(cache, items: list[Item]):
    return tens(items)


@app.handler("/plain", batch=Batch(max_size=8))
def plain(cache, items):
    begin(items)
    return [{"type": type(items).__name__, "item": item} for item in items]


@app.handler("/values", batch=Batch(max_size=8))
def values(cache, items: list[Item]):
    return [numpy.arange(3), "text", None, b"\\x00\\xff", Response(json=1, status=201)]


@app.handler("/rows", batch=Batch(max_size=8))
def rows(cache, items: list[Item]):
    return numpy.array([[item.number, 0.5] for item in items])


@app.handler("/thread", batch=Batch(max_size=8))
def thread(cache, items: list[Item]):
    return [threading.current_thread().name for _ in items]


def cost(item):
    note(f"{item.name} costed on {threading.current_thread().name}")
    return item.cost


@app.handler("/cost", batch=Batch(max_size=8, max_delay=0.01, cost=cost, max_cost=800))
def costly(cache, items: list[Item]):
    time.sleep(0.005)
    return tens(items)


if __name__ == "__main__":
    app.serve()
"""
)
PATHS = ["/batch", "/yields"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("batching")) as server:
        yield server


@pytest.mark.parametrize("path", [*PATHS, "/delay", "/cost"])
def test_a_lone_call_is_a_batch_of_one(server: Server, name: str, path: str) -> None:
    """The handler gets a list even for a single input."""
    assert server.post(path, {"name": name, "number": 7}).json() == 70
    assert batches(server, name) == [[7]]


@pytest.mark.parametrize("path", PATHS)
def test_calls_that_wait_together_run_together(
    server: Server, name: str, gate: Path, path: str
) -> None:
    """All calls that are queued when the thread becomes free are one call of the handler."""
    assert outcomes(server, gate, path, items(name, 8)) == [number * 10 for number in range(8)]
    assert [len(batch) for batch in batches(server, name)] == [8]


def test_a_batch_is_no_larger_than_it_may_be(server: Server, name: str, gate: Path) -> None:
    """More calls than ``max_size`` make several batches, as few as possible."""
    outcomes(server, gate, "/batch", items(name, 24))
    assert [len(batch) for batch in batches(server, name)] == [8, 8, 8]


def test_each_input_is_in_one_batch(server: Server, name: str, gate: Path) -> None:
    """No input runs twice, and none is left out."""
    outcomes(server, gate, "/batch", items(name, 20))
    numbers = [number for batch in batches(server, name) for number in batch]
    assert sorted(numbers) == list(range(20))


@pytest.mark.parametrize("path", [*PATHS, "/cost"])
def test_each_caller_gets_its_own_result(
    server: Server, name: str, path: str, pool: ThreadPoolExecutor
) -> None:
    """Under load from many connections, no result goes to another caller."""

    def calls(caller: int) -> list[bool]:
        with server.client() as http:
            numbers = [caller * 1000 + number for number in range(20)]
            return [
                http.post(
                    path, json={"name": name, "number": number, "cost": 1 + number % 9}
                ).json()
                == number * 10
                for number in numbers
            ]

    assert all(all(own) for own in pool.map(calls, range(16)))
    assert max(len(batch) for batch in batches(server, name)) > 1


def test_inputs_without_an_annotation_are_objects(server: Server, name: str, gate: Path) -> None:
    """``items`` is a list of the JSON objects as they were sent."""
    bodies = [{"name": name, "number": number} for number in range(3)]
    expected = [{"type": "list", "item": body} for body in bodies]
    assert outcomes(server, gate, "/plain", bodies) == expected


def test_json_that_is_no_object_is_invalid_input(server: Server) -> None:
    """Each call's whole body is one input: a client does not send lists of inputs."""
    assert error(server.post("/plain", [{"name": "a", "number": 1}])) == (422, "invalid_input")
    assert error(server.post("/batch", [{"name": "a", "number": 1}])) == (422, "invalid_input")


def test_results_of_one_batch_may_be_of_any_kind(server: Server, name: str, gate: Path) -> None:
    """Each result is answered as it would be alone, with its own status, type and body."""
    answers = {
        (answered.status, answered.headers["content-type"].partition(";")[0], answered.body)
        for answered in together(server, gate, "/values", items(name, 5))
    }
    assert answers == {
        (200, "application/json", b"[0,1,2]"),
        (200, "application/json", b'"text"'),
        (200, "application/json", b"null"),
        (200, "application/octet-stream", b"\0\xff"),
        (201, "application/json", b"1"),
    }


def test_the_rows_of_an_array_are_results(server: Server, name: str, gate: Path) -> None:
    """A handler may return a whole array: each row is one result."""
    assert outcomes(server, gate, "/rows", items(name, 3)) == [[n, 0.5] for n in range(3)]


def test_each_answer_of_a_batch_has_its_own_request_id(
    server: Server, name: str, pool: ThreadPoolExecutor
) -> None:
    """A request id does not spread to other calls in the same batch."""

    def echoed(number: int) -> str:
        headers = {"X-Request-Id": f"{name}-{number}"}
        response = server.post("/batch", {"name": name, "number": number}, headers=headers)
        return response.headers["x-request-id"]

    assert list(pool.map(echoed, range(16))) == [f"{name}-{number}" for number in range(16)]


def test_a_batch_runs_on_the_gpu_thread(server: Server, name: str, gate: Path) -> None:
    """A batch runs on the GPU thread, like a single call."""
    assert set(outcomes(server, gate, "/thread", items(name, 4))) == {"potassium-gpu"}


def test_a_lone_caller_does_not_wait_for_others(start: Start, name: str) -> None:
    """If nobody else is connected, no call waits for ``max_delay``."""
    server = start(SOURCE)
    with server.client(timeout=PATIENT) as http:
        for number in range(5):
            http.post("/delay", json={"name": name, "number": number})
    assert batches(server, name) == [[0], [1], [2], [3], [4]]


def test_idle_connections_are_not_waited_for(server: Server, name: str) -> None:
    """Clients that are connected but do not call make nobody wait for ``max_delay``."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client(timeout=PATIENT)) for _ in range(4)]
        for http in clients:
            http.get("/healthz")
        for number in range(3):
            response = clients[0].post("/delay", json={"name": name, "number": number})
            assert response.json() == number * 10


def test_a_full_batch_does_not_wait(server: Server, name: str, gate: Path) -> None:
    """``max_size`` calls leave before ``max_delay`` is over, and so do the four behind them."""
    with waiting(server, gate, "/delay", items(name, 8)) as connections:
        gate.touch()
        for connection in connections:
            connection.settimeout(PATIENT)
            assert answer(connection).status == 200
    assert [len(batch) for batch in batches(server, name)] == [4, 4]


def test_the_rest_of_a_crowd_does_not_wait(
    server: Server, name: str, pool: ThreadPoolExecutor
) -> None:
    """When there are fewer callers than a batch takes, nobody waits for those that are gone."""

    def calls(caller: int) -> list[int]:
        with server.client(timeout=PATIENT) as http:
            return [
                http.post("/delay", json={"name": name, "number": caller}).json()
                for _ in range(5 * caller + 1)
            ]

    answers = list(pool.map(calls, range(6)))
    assert answers == [[caller * 10] * (5 * caller + 1) for caller in range(6)]


def test_calls_of_other_handlers_go_on_beside_batches(
    server: Server, name: str, pool: ThreadPoolExecutor
) -> None:
    """While a batch gathers, calls of other handlers are served, and the batch is not forgotten."""

    def calls(caller: int) -> list[object]:
        path = "/ordinary" if caller % 2 else "/delay"
        with server.client(timeout=PATIENT) as http:
            body = {"name": name, "number": caller}
            return [http.post(path, json=body).json() for _ in range(30)]

    answers = list(pool.map(calls, range(8)))
    assert answers == [["served" if n % 2 else n * 10] * 30 for n in range(8)]


def costing(name: str, *costs: int) -> list[dict[str, object]]:
    """Return one input for each cost; its number equals its cost."""
    return [{"name": name, "number": cost, "cost": cost} for cost in costs]


def test_a_batch_costs_no_more_than_it_may(server: Server, name: str, gate: Path) -> None:
    """With ``max_cost=800``, inputs of cost 300 run in twos, though ``max_size`` is eight."""
    outcomes(server, gate, "/cost", costing(name, *[300] * 8), noted=f"{name} costed")
    assert [len(batch) for batch in batches(server, name)] == [2, 2, 2, 2]


def test_an_input_that_costs_more_than_a_batch_runs_alone(
    server: Server, name: str, gate: Path
) -> None:
    """An input above ``max_cost`` is served, in a batch of its own."""
    results = outcomes(server, gate, "/cost", costing(name, 1, 2, 5000, 3))
    assert results == [10, 20, 50000, 30]
    assert [5000] in batches(server, name)


def test_batches_are_made_of_like_costs(server: Server, name: str, gate: Path) -> None:
    """When long and short inputs wait together, little of their batches is padding."""
    outcomes(server, gate, "/cost", costing(name, *[1, 100] * 8), noted=f"{name} costed")
    ran = batches(server, name)
    padded = sum(max(batch) * len(batch) for batch in ran)
    assert 1 - sum(map(sum, ran)) / padded < 0.25
    assert len(ran) <= 4


def test_an_odd_input_does_not_starve(server: Server, name: str, gate: Path) -> None:
    """A long input is served among short ones that never stop coming."""
    with ThreadPoolExecutor(16) as callers:

        def short() -> None:
            with server.client() as http:
                while not gate.exists():
                    http.post("/cost", json={"name": f"{name} short", "number": 1})

        busy = [callers.submit(short) for _ in range(12)]
        try:
            wait_until(lambda: len(batches(server, f"{name} short")) > 5, "a crowd")
            [odd] = costing(name, 700)
            with server.client(timeout=PATIENT) as http:
                assert http.post("/cost", json=odd).json() == 7000
        finally:
            gate.touch()
        for caller in busy:
            caller.result()


def test_costs_are_counted_off_the_gpu_thread(server: Server, name: str, gate: Path) -> None:
    """Each input's cost is known before its batch is made, even while the thread is held."""
    costed = f"{name} costed on "
    with waiting(server, gate, "/cost", costing(name, 1, 2, 3)) as connections:
        wait_until(lambda: len(events(server, costed)) == 3, "the costs")
        gate.touch()
        for connection in connections:
            answer(connection)
    assert f"{costed}potassium-gpu" not in events(server, costed)
