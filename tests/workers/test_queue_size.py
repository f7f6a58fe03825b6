"""The bounded queue with workers: ``queue_size`` is one promise, however many of them there are."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from e2e.server import Server, serve_source, wait_until

SOURCE = """
import os
import time
from pathlib import Path
from uuid import uuid4

from potassium import Limits, Potassium

app = Potassium("queue", workers=["cpu", "cpu"], limits=Limits(queue_size=4))
HERE = Path(__file__).parent


def wait_at_gate(name):
    (HERE / f"{name}-{uuid4()}").touch()
    while not (HERE / name).exists():
        time.sleep(0.005)


@app.handler("/hold")
def hold(cache, json_in):
    wait_at_gate(json_in["gate"])


def finish(result):
    wait_at_gate(result["gate"])
    return result


@app.handler("/finish", finish=finish)
def finished(cache, json_in):
    return json_in


@app.handler("/prepare", prepare=finish)
def prepared(cache, json_in):
    return json_in


@app.handler("/count")
def count(cache, json_in):
    return len(json_in["items"])


if __name__ == "__main__":
    app.serve()
"""
WORKERS, PLACES = 2, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("queue")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serve_source(SOURCE, folder) as server:
        yield server


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as callers:
        yield callers


def at_gate(folder: Path, gate: str, number: int) -> bool:
    """Return whether ``number`` calls are at a gate: until then, they pass through the queue."""
    return len(list(folder.glob(f"{gate}-*"))) == number


def has(server: Server, number: int) -> bool:
    return waiting(server) == number


def waiting(server: Server) -> int:
    """Return how many calls wait, as the status page has it."""
    queued: int = server.status()["queue"]["length"]
    return queued


def test_as_many_wait_as_the_queue_holds_beside_those_that_run(
    server: Server, folder: Path, callers: ThreadPoolExecutor
) -> None:
    """All others are refused at once, and told when to come back."""
    together = threading.Barrier(20)

    def call() -> httpx.Response:
        together.wait()
        return server.post("/hold", {"gate": "all"})

    calls = [callers.submit(call) for _ in range(20)]
    refused = 20 - WORKERS - PLACES
    wait_until(lambda: sum(one.done() for one in calls) == refused, "the refusals", seconds=10)
    assert waiting(server) == PLACES
    answers = [one.result() for one in calls if one.done()]
    assert {answer.json()["code"] for answer in answers} == {"queue_full"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    (folder / "all").touch()
    assert sorted(one.result().status_code for one in calls) == [200] * 6 + [503] * refused


@pytest.mark.parametrize("path", ["/finish", "/prepare"])
def test_a_call_waits_while_a_worker_prepares_or_finishes_it(
    server: Server, folder: Path, callers: ThreadPoolExecutor, path: str
) -> None:
    """Otherwise, no bound would hold for these."""
    gate = path[1:]
    calls: list[Future[httpx.Response]] = []
    try:
        for number in range(1, PLACES + 1):
            calls.append(callers.submit(server.post, path, {"gate": gate}))
            wait_until(partial(at_gate, folder, gate, number), f"{number} at the gate")
            wait_until(partial(has, server, number), f"{number} wait")
        assert server.post(path, {"gate": gate}).json()["code"] == "queue_full"
        assert server.post("/hold", {"gate": gate}).json()["code"] == "queue_full"
    finally:
        (folder / gate).touch()
    assert [one.result().json() for one in calls] == [{"gate": gate}] * PLACES
    assert waiting(server) == 0


def test_a_large_body_has_a_place_while_it_is_bound(server: Server) -> None:
    """And gives it back, whether it is valid or not."""
    for content in (b'{"items": [%b1]}' % (b"1," * 100_000), b"[" * 100_000):
        server.post("/count", content=content)
    wait_until(lambda: waiting(server) == 0, "nobody waits")
