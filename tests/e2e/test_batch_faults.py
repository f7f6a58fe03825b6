"""Batches in which one input fails, leaves or is late; and batches that fail as a whole."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM

import pytest
from e2e.batches import APP, batches, items, outcome, outcomes, together, waiting
from e2e.server import Server, Start, serve_source, wait_until
from e2e.streams import send
from e2e.wire import answer, events, reset

TIMEOUT = 0.5  # seconds, for the handler that has a timeout
FAILED = (500, "handler_error")
MARKS = {"marked": FAILED, "unsendable": (500, "unserializable_output")}
PROMPT = 10.0  # seconds that a process may take to end

SOURCE = (
    APP
    + f"""
import torch
from starlette.exceptions import HTTPException


def run(items):
    begin(items)
    faults = [item.fault for item in items]
    for item in items:
        if item.gate:
            wait_for(item.gate)
        if item.fault == "raises":
            raise ValueError("hidden-4711")
        if item.fault == "exits":
            raise SystemExit(3)
        if item.fault == "poisons":
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
    results = [result(item) for item in items]
    for fault in faults:
        if fault.startswith("wrong"):
            return WRONG[fault](results)
    return results


def result(item):
    if item.fault == "marked":
        return ValueError("hidden-4711")
    if item.fault == "marked 409":
        return HTTPException(409, detail="Not today.")
    if item.fault == "unsendable":
        return object()
    if item.fault == "a generator":
        return (chunk for chunk in "ab")
    if item.fault == "a stream":
        return Response(body=iter("ab"))
    return item.number * 10


WRONG = {{
    "wrong: one less": lambda results: results[:-1],
    "wrong: one more": lambda results: [*results, 1],
    "wrong: none": lambda results: [],
    "wrong: nothing": lambda results: None,
    "wrong: a number": lambda results: 5,
    "wrong: a dict": lambda results: dict(enumerate(results)),
    "wrong: a text": lambda results: "x" * len(results),
}}


@app.handler("/batch", batch=Batch(max_size=8))
def batch(cache, items: list[Item]):
    return run(items)


@app.handler("/yields", batch=Batch(max_size=8))
def yields(cache, items: list[Item]):
    begin(items)
    for item in items:
        if item.fault == "raises":
            raise ValueError("hidden-4711")
        if item.fault == "stops":
            return
        yield result(item)


@app.handler("/timeout", batch=Batch(max_size=8), timeout={TIMEOUT})
def timeout(cache, items: list[Item]):
    return run(items)


if __name__ == "__main__":
    app.serve()
"""
)
LEAVE: dict[str, Callable[[socket.socket], None]] = {"closes": socket.socket.close, "resets": reset}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that must survive all of these tests."""
    with serve_source(SOURCE, tmp_path_factory.mktemp("faults")) as server:
        yield server


def tens(count: int, **others: object) -> list[object]:
    """Return the results of ``count`` inputs, except for ``others``."""
    return [others.get(f"_{number}", number * 10) for number in range(count)]


def test_an_invalid_input_fails_alone(server: Server, name: str, gate: Path) -> None:
    """An invalid input is refused before the batch is made; its neighbours are served together."""
    with waiting(server, gate, "/batch", items(name, 3)) as connections:
        with send(server, "/batch", {"name": name, "number": "many"}) as invalid:
            assert answer(invalid).error() == (422, "invalid_input")
        gate.touch()
        assert [outcome(answer(connection)) for connection in connections] == tens(3)
    assert [len(batch) for batch in batches(server, name)] == [3]


@pytest.mark.parametrize("path", ["/batch", "/yields"])
@pytest.mark.parametrize("fault", MARKS)
def test_a_marked_input_fails_alone(
    server: Server, name: str, gate: Path, path: str, fault: str
) -> None:
    """An exception or an unsendable value in place of a result concerns its caller alone."""
    assert outcomes(server, gate, path, items(name, 4, _2=fault)) == tens(4, _2=MARKS[fault])
    assert [len(batch) for batch in batches(server, name)] == [4]


@pytest.mark.parametrize("fault", ["a generator", "a stream"])
def test_an_input_of_a_batch_cannot_be_answered_with_a_stream(
    server: Server, name: str, gate: Path, fault: str
) -> None:
    """A stream as a result is a mistake like any other: a problem document for its caller alone."""
    bodies = items(name, 3, _1=fault)
    first, wrong, last = together(server, gate, "/batch", bodies)
    assert (outcome(first), outcome(last)) == (0, 20)
    assert wrong.error()[0] == 500


def test_a_marked_input_may_have_its_own_status(server: Server, name: str, gate: Path) -> None:
    """An ``HTTPException`` in place of a result is answered with its own status."""
    answers = together(server, gate, "/batch", items(name, 3, _1="marked 409"))
    assert [answered.status for answered in answers] == [200, 409, 200]


@pytest.mark.parametrize("path", ["/batch", "/yields"])
@pytest.mark.parametrize("culprit", [0, 3, 7])
def test_a_batch_that_raises_is_split(
    server: Server, name: str, gate: Path, culprit: int, path: str
) -> None:
    """The input that makes a batch raise fails alone, wherever it is in the batch."""
    bodies = items(name, 8, **{f"_{culprit}": "raises"})
    assert outcomes(server, gate, path, bodies) == tens(8, **{f"_{culprit}": FAILED})


def test_a_culprit_is_found_by_halves(server: Server, name: str, gate: Path) -> None:
    """One culprit among eight inputs takes the batch and at most three rounds of two halves."""
    outcomes(server, gate, "/batch", items(name, 8, _5="raises"))
    ran = batches(server, name)
    assert len(ran[0]) == 8
    assert len(ran) <= 1 + 2 * 3


def test_several_culprits_fail_alone(server: Server, name: str, gate: Path) -> None:
    """Each culprit is found and fails alone; the other inputs get their results."""
    bodies = items(name, 8, _0="raises", _3="exits", _4="raises")
    assert outcomes(server, gate, "/batch", bodies) == tens(8, _0=FAILED, _3=FAILED, _4=FAILED)


def test_a_batch_of_culprits_fails(server: Server, name: str, gate: Path) -> None:
    """If all inputs fail, every caller gets an error, and the next batch is served."""
    faults = {f"_{number}": "raises" for number in range(4)}
    assert outcomes(server, gate, "/batch", items(name, 4, **faults)) == [FAILED] * 4
    assert server.post("/batch", {"name": name, "number": 4}).json() == 40


@pytest.mark.parametrize("fault", ["raises", "marked"])
def test_what_was_raised_is_on_the_log_under_its_request(
    server: Server, name: str, gate: Path, fault: str
) -> None:
    """The traceback is logged under the culprit's request id, and stays on the server."""
    bodies = items(name, 4, _1=fault)
    culprit = together(server, gate, "/batch", bodies)[1]
    assert b"hidden-4711" not in culprit.body
    _, _, entry = server.log().partition(culprit.headers["x-request-id"])
    assert "ValueError: hidden-4711" in entry


WRONG = [
    "wrong: one less",
    "wrong: one more",
    "wrong: none",
    "wrong: nothing",
    "wrong: a number",
    "wrong: a dict",
    "wrong: a text",
]


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_number_of_results_fails_all(
    server: Server, name: str, gate: Path, fault: str
) -> None:
    """If results cannot be matched to inputs, nobody gets one; the next batch is served."""
    assert outcomes(server, gate, "/batch", items(name, 5, _2=fault)) == [FAILED] * 5
    assert server.post("/batch", {"name": name, "number": 1}).json() == 10


@pytest.mark.parametrize(("fault", "got"), [(WRONG[0], 4), (WRONG[1], 6), (WRONG[2], 0)])
def test_a_wrong_number_of_results_is_on_the_log(
    server: Server, name: str, gate: Path, fault: str, got: int
) -> None:
    """One line says how many results were expected, and how many the handler returned."""
    before = len(server.log())
    outcomes(server, gate, "/batch", items(name, 5, _2=fault))
    numbers = [re.findall(r"\b\d+\b", line) for line in server.log()[before:].splitlines()]
    assert any("5" in line and str(got) in line for line in numbers), server.log()[before:]


def test_a_wrong_number_of_yielded_results_swaps_none(
    server: Server, name: str, gate: Path
) -> None:
    """If a handler yields too few results, the rest are errors, and no result goes to another."""
    results = outcomes(server, gate, "/yields", items(name, 5, _2="stops"))
    assert FAILED in results
    assert all(own in (FAILED, number * 10) for number, own in enumerate(results))


def test_a_batch_that_poisons_the_device_is_not_split(start: Start, name: str, gate: Path) -> None:
    """Nothing more runs on a dead context: every caller gets an error, and the process ends."""
    server = start(SOURCE)
    answers = together(server, gate, "/batch", items(name, 4, _1="poisons"))
    assert {answered.status for answered in answers} <= {500, 503}
    assert server.process.wait(PROMPT) != 0
    assert len(batches(server, name)) == 1


@pytest.mark.parametrize("leave", LEAVE)
def test_a_client_that_leaves_the_queue_is_in_no_batch(
    server: Server, name: str, gate: Path, leave: str
) -> None:
    """The input of a client that leaves is taken off the queue; the others run without it."""
    with waiting(server, gate, "/batch", items(name, 4)) as connections:
        LEAVE[leave](connections.pop(1))
        wait_until(lambda: server.status()["queue"]["length"] == 3, "three in the queue")
        gate.touch()
        assert [outcome(answer(connection)) for connection in connections] == [0, 20, 30]
    assert [sorted(batch) for batch in batches(server, name)] == [[0, 2, 3]]


def test_clients_that_left_take_no_places_in_a_batch(server: Server, name: str, gate: Path) -> None:
    """Seven calls wait, four clients leave, five more call: they make one full batch of eight."""
    with waiting(server, gate, "/batch", items(name, 7)) as connections, ExitStack() as stack:
        for connection in connections[:4]:
            connection.close()
        wait_until(lambda: server.status()["queue"]["length"] == 3, "three in the queue")
        later = [
            stack.enter_context(send(server, "/batch", body, timeout=20)) for body in items(name, 5)
        ]
        wait_until(lambda: server.status()["queue"]["length"] == 8, "eight in the queue")
        gate.touch()
        for connection in connections[4:] + later:
            assert answer(connection).status == 200
    assert [len(batch) for batch in batches(server, name)] == [8]


def test_a_deadline_takes_one_input_out_of_those_that_wait(
    server: Server, name: str, gate: Path
) -> None:
    """The late call is answered 504 on time, and the others run without it."""
    with waiting(server, gate, "/batch", items(name, 3)) as connections:
        late = {"name": name, "number": 3}
        with send(server, "/batch", late, "Prefer: wait=0.3") as impatient:
            assert answer(impatient).error() == (504, "deadline_exceeded")
        gate.touch()
        assert [outcome(answer(connection)) for connection in connections] == tens(3)
    assert [sorted(batch) for batch in batches(server, name)] == [[0, 1, 2]]


def test_a_batch_that_nobody_waits_for_is_not_run(server: Server, name: str, gate: Path) -> None:
    """If all clients have left or are late, the thread gets none of the inputs."""
    with waiting(server, gate, "/timeout", items(name, 4)) as connections:
        connections.pop().close()
        assert {answer(connection).error()[0] for connection in connections} == {504}
        gate.touch()
    server.post("/ordinary", {})
    assert batches(server, name) == []


def test_a_deadline_in_a_running_batch_ends_one_call(
    server: Server, name: str, gate: Path, tmp_path: Path
) -> None:
    """The late call is answered 504 on time; its batch-mates still get their results."""
    inner = tmp_path / "inner"
    bodies = [{"name": name, "number": number, "gate": str(inner)} for number in range(3)]
    with waiting(server, gate, "/batch", bodies[:2]) as connections:
        with send(server, "/batch", bodies[2], "Prefer: wait=2") as impatient:
            wait_until(lambda: server.status()["queue"]["length"] == 3, "three in the queue")
            gate.touch()
            assert answer(impatient).error() == (504, "deadline_exceeded")
        inner.touch()
        assert [outcome(answer(connection)) for connection in connections] == tens(2)


def test_a_client_that_leaves_a_running_batch_affects_nobody_else(
    server: Server, name: str, gate: Path, tmp_path: Path
) -> None:
    """The other clients of the batch get their own results."""
    inner = tmp_path / "inner"
    bodies = [{"name": name, "number": number, "gate": str(inner)} for number in range(4)]
    with waiting(server, gate, "/batch", bodies) as connections:
        gate.touch()
        wait_until(lambda: batches(server, name), "a batch that runs")
        connections.pop(1).close()
        time.sleep(0.1)
        inner.touch()
        assert [outcome(answer(connection)) for connection in connections] == [0, 20, 30]


def test_a_drain_answers_all_that_wait_for_a_batch(start: Start, name: str, gate: Path) -> None:
    """Every admitted call runs, batch by batch, and the process ends with status 0."""
    server = start(SOURCE)
    with waiting(server, gate, "/batch", items(name, 20)) as connections:
        server.process.send_signal(SIGTERM)
        wait_until(lambda: server.get("/readyz").status_code == 503, "the drain")
        gate.touch()
        assert [outcome(answer(connection)) for connection in connections] == tens(20)
    assert server.process.wait(PROMPT) == 0


def test_faults_of_batches_leave_the_server_ready(server: Server, name: str) -> None:
    """After all these faults, the same process serves the next call."""
    assert server.post("/batch", {"name": name, "number": 1}).json() == 10
    assert server.get("/healthz").status_code == 200
    assert "Task exception was never retrieved" not in server.log()
    assert events(server, name) == [f"{name} batch [1]"]
