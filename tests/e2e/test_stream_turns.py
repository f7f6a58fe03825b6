"""Several streams and ordinary calls on one GPU thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest
from e2e.server import Server, serve_source, wait_until
from e2e.streams import RAW, SSE, Stream, open_stream, send, wait_for_event
from e2e.wire import RECORD, answer, events

SOURCE = (
    RECORD
    + """
from potassium import Potassium, Request, current_request

app = Potassium("server")


def steps(call):
    note(f"{call['name']} starts")
    step = 0
    while step < call.get("steps", 1e9) and not pathlib.Path(call.get("gate", "none")).exists():
        if "steps" in call:
            note(f"{call['name']} {step}")
        yield f"{call['name']} {step},"
        step += 1
        time.sleep(0.001)
    note(f"{call['name']} ends")


@app.handler("/four", streams=4)
def four(cache, json_in):
    yield from steps(json_in)


@app.handler("/one")
def one(cache, json_in):
    yield from steps(json_in)


@app.handler("/other")
def other(cache, json_in):
    yield from steps(json_in)


@app.handler("/pushes")
def pushes(cache, request: Request):
    for chunk in steps(request.json):
        request.send(chunk)


@app.handler("/current", streams=4)
def current(cache, json_in):
    for _ in range(json_in["steps"]):
        time.sleep(0.001)
        yield current_request().id


def either(cache, json_in):
    if "gate" in json_in:
        return steps(json_in)
    return json_in["name"]


for which in ("leaves", "returns", "streams"):
    app.handler(f"/either/{which}")(either)


@app.handler("/hold")
def wait(cache, json_in):
    return hold(json_in)


@app.handler("/ordinary")
def ordinary(cache, json_in):
    return json_in["name"]


if __name__ == "__main__":
    app.serve()
"""
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("turns")) as server:
        yield server


def text(name: str, steps: int) -> bytes:
    """Return the body of a stream of ``steps`` steps."""
    return "".join(f"{name} {step}," for step in range(steps)).encode()


def test_a_short_stream_does_not_wait_for_a_long_one(server: Server, name: str, gate: Path) -> None:
    """With ``streams=4``, the second of two streams ends while the first one still runs."""
    with open_stream(server, "/four", {"name": f"{name} long", "gate": str(gate)}, RAW) as long:
        with open_stream(server, "/four", {"name": f"{name} short", "steps": 5}, RAW) as short:
            assert short.rest() == (text(f"{name} short", 5), True)
        assert f"{name} long ends" not in events(server, name)
        gate.touch()
        assert long.rest()[1]


@pytest.mark.parametrize("path", ["/four", "/one"])
def test_an_ordinary_call_does_not_wait_for_a_stream(
    server: Server, name: str, gate: Path, path: str
) -> None:
    """Other handlers get a turn between two steps of a stream."""
    with open_stream(server, path, {"name": name, "gate": str(gate)}, RAW) as stream:
        answers = [server.post("/ordinary", {"name": number}).json() for number in range(5)]
        assert f"{name} ends" not in events(server, name)
        gate.touch()
        assert stream.rest()[1]
    assert answers == list(range(5))


def test_an_ordinary_call_takes_its_turn_among_many_streams(
    server: Server, name: str, gate: Path
) -> None:
    """Four streams that always have a next step all leave turns for other handlers."""
    with ExitStack() as stack:
        body = {"name": name, "gate": str(gate)}
        streams = [stack.enter_context(open_stream(server, "/four", body, RAW)) for _ in range(4)]
        answers = [server.post("/ordinary", {"name": number}).json() for number in range(20)]
        assert f"{name} ends" not in events(server, name)
        gate.touch()
        assert all(stream.rest()[1] for stream in streams)
    assert answers == list(range(20))


def test_streams_of_two_handlers_run_beside_each_other(
    server: Server, name: str, gate: Path
) -> None:
    """``streams=1`` limits one handler: the stream of another handler takes its turns."""
    with open_stream(server, "/one", {"name": f"{name} long", "gate": str(gate)}, RAW) as long:
        with open_stream(server, "/other", {"name": f"{name} short", "steps": 5}, RAW) as short:
            assert short.rest() == (text(f"{name} short", 5), True)
        assert f"{name} long ends" not in events(server, name)
        gate.touch()
        assert long.rest()[1]


def test_streams_take_turns_of_one_step(server: Server, name: str) -> None:
    """While two streams run, neither makes two steps in a row."""
    bodies = [{"name": f"{name} {which}", "steps": 200} for which in "ab"]
    with (
        open_stream(server, "/four", bodies[0], SSE) as first,
        open_stream(server, "/four", bodies[1], SSE) as second,
    ):
        first.rest()
        second.rest()
    order = events(server, name)
    both = order[order.index(f"{name} b starts") + 1 : order.index(f"{name} a ends")]
    steps = [line.split()[1] for line in both if line.split()[2].isdecimal()]
    assert len(steps) > 20
    assert max(len(list(run)) for _, run in groupby(steps)) == 1


def test_a_second_stream_waits_where_one_is_allowed(server: Server, name: str, gate: Path) -> None:
    """With ``streams=1``, the default, a call of the handler starts when the previous one ends."""
    first = open_stream(server, "/one", {"name": f"{name} a", "gate": str(gate)}, RAW)
    with first, send(server, "/one", {"name": f"{name} b", "steps": 1}, RAW) as second:
        for number in range(5):
            server.post("/ordinary", {"name": number})
        before = events(server, name)
        gate.touch()
        assert first.rest()[1]
        assert answer(second).body == text(f"{name} b", 1)
    assert before == [f"{name} a starts"]
    order = events(server, name)
    assert order.index(f"{name} a ends") < order.index(f"{name} b starts")


def test_a_fifth_stream_waits_where_four_are_allowed(
    server: Server, name: str, gate: Path, tmp_path: Path
) -> None:
    """With ``streams=4``, the fifth stream starts as soon as one of the four has ended."""
    gates = [gate, *(tmp_path / f"gate {number}" for number in range(3))]
    with ExitStack() as stack:
        for number, own in enumerate(gates):
            body = {"name": f"{name} {number}", "gate": str(own)}
            stack.enter_context(open_stream(server, "/four", body, RAW))
        fifth = {"name": f"{name} fifth", "steps": 5}
        waiting = stack.enter_context(send(server, "/four", fifth, RAW))
        for number in range(5):
            server.post("/ordinary", {"name": number})
        before = events(server, f"{name} fifth")
        gates[2].touch()
        assert answer(waiting).body == text(f"{name} fifth", 5)
        ended = [line for line in events(server, name) if line.endswith("ends")]
        for own in gates:
            own.touch()
    assert before == []
    assert ended == [f"{name} 2 ends", f"{name} fifth ends"]


@pytest.mark.parametrize("path", ["/one", "/four"])
def test_streams_that_wait_for_their_turn_are_in_the_queue(
    server: Server, name: str, gate: Path, path: str
) -> None:
    """Waiting streams count towards the queue's limit, and the status page shows them."""
    body = {"name": name, "gate": str(gate)}
    with ExitStack() as stack:
        for _ in range(1 if path == "/one" else 4):
            stack.enter_context(open_stream(server, path, body, RAW)).until(b",")
        for _ in range(5):
            stack.enter_context(send(server, path, body, RAW))
        wait_until(lambda: server.status()["queue"]["length"] == 5, "five in the queue")
        gate.touch()


def test_a_push_holds_the_thread(server: Server, name: str, gate: Path) -> None:
    """A handler that pushes is one blocking call: nothing runs beside it."""
    with open_stream(server, "/pushes", {"name": f"{name} a", "gate": str(gate)}, RAW) as pushing:
        with send(server, "/four", {"name": f"{name} b", "steps": 1}, RAW) as waiting:
            pushing.until(b" 20,")
            before = events(server, name)
            gate.touch()
            assert answer(waiting).body == text(f"{name} b", 1)
        assert pushing.rest()[1]
    assert before == [f"{name} a starts"]


def test_each_of_many_streams_has_its_own_chunks(
    server: Server, name: str, pool: ThreadPoolExecutor
) -> None:
    """The chunks of streams that take turns, or wait for one, are never mixed up."""

    def one(number: int) -> bool:
        own, steps = f"{name} {number}", 30 + number
        with open_stream(server, "/four", {"name": own, "steps": steps}, RAW) as stream:
            return stream.rest() == (text(own, steps), True)

    assert all(pool.map(one, range(16)))


def test_each_step_knows_its_own_request(server: Server, pool: ThreadPoolExecutor) -> None:
    """In a generator, ``current_request()`` is its own request, whoever had the turn before."""

    def seen(request_id: str) -> set[str]:
        own = f"X-Request-Id: {request_id}"
        with open_stream(server, "/current", {"steps": 30}, SSE, own) as stream:
            return {event.data for event in stream.last_events() if event.type == "message"}

    ids = [f"request-{number}" for number in range(4)]
    assert list(pool.map(seen, ids)) == [{request_id} for request_id in ids]


def test_a_stream_that_starts_late_gets_its_turns(server: Server, name: str, gate: Path) -> None:
    """A stream among ordinary calls that never stop coming gets to its end."""
    with ThreadPoolExecutor(8) as callers:

        def calls() -> None:
            with server.client() as http:
                while not gate.exists():
                    http.post("/ordinary", json={"name": name})

        busy = [callers.submit(calls) for _ in range(4)]
        with open_stream(server, "/one", {"name": name, "steps": 50}, RAW) as stream:
            seen = stream.rest()
        wait_for_event(server, f"{name} ends")
        gate.touch()
        for caller in busy:
            caller.result()
    assert seen == (text(name, 50), True)


@pytest.mark.parametrize("second", ["leaves", "returns", "streams"])
def test_calls_that_were_handed_over_together_all_get_their_turn(
    server: Server, name: str, tmp_path: Path, second: str
) -> None:
    """A call does not wait forever behind one that turned out to need no place after all.

    Here a handler that used to return at once returns a generator, for calls that came in one
    group.
    """
    path = f"/either/{second}"
    with server.client() as http:
        for _ in range(200):  # the server learns that these take microseconds
            http.post(path, json={"name": "warm"})
    gates = {name: tmp_path / name for name in ("hold a", "hold b", "a", "b", "c")}
    sent = {}
    with ExitStack() as stack:
        for which, gate in gates.items():
            body = {"name": f"{name} {which}", "gate": str(gate)}
            if (which, second) == ("b", "returns"):
                del body["gate"]
            to = "/hold" if which.startswith("hold") else path
            sent[which] = stack.enter_context(send(server, to, body, RAW))
            wait_until(partial(waits, server, len(sent) - 1), "a call in the queue")
        gates["hold a"].touch()
        wait_for_event(server, f"{name} hold b starts")
        gates["hold b"].touch()
        first = stack.enter_context(Stream(sent["a"]))
        first.until(b"a 3,")
        if second == "leaves":
            sent["b"].close()
        gates["b"].touch()
        gates["a"].touch()
        assert first.rest()[1]
        last = stack.enter_context(Stream(sent["c"]))
        assert last.until(b"c 3,")
        gates["c"].touch()


def waits(server: Server, length: int) -> bool:
    """Return whether ``length`` calls wait behind a running one."""
    status = server.status()
    return not status["gpu_available"] and status["queue"]["length"] == length
