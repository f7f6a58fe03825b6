"""Large bodies with workers: files cross as descriptors, and what takes a while is bound there."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.server import Server, serve_source, wait_until
from support.worker_processes import files_of, wait_until_no_file_is_open, workers_of

SOURCE = """
import os
import time
from pathlib import Path

from pydantic import BaseModel, field_validator

from potassium import Batch, File, Limits, Potassium, Request

app = Potassium(
    "bodies",
    workers=None if "ONE" in os.environ else ["cpu", "cpu"],
    limits=Limits(json_values=500_000),
)
HERE = Path(__file__).parent


@app.init
def init():
    return {}


def wait_at_gate(name):
    (HERE / f"{name}.{os.getpid()}").touch()
    while not (HERE / name).exists():
        time.sleep(0.005)


class Item(BaseModel):
    numbers: list[int]

    @field_validator("numbers")
    @classmethod
    def note(cls, numbers):
        with (HERE / "bound").open("a") as log:
            log.write(f"{os.getpid()}\\n")
        return numbers


@app.handler("/read")
def read(cache, request: Request):
    with request.open() as body:
        content = body.read()
    return {"size": len(content), "first": content[:1].hex(), "pid": os.getpid()}


@app.handler("/keep")
def keep(cache, request: Request):
    cache["kept"] = request, request.open()
    return {"pid": os.getpid()}


@app.handler("/hold")
def hold(cache, request: Request):
    wait_at_gate(request.query_params["gate"])
    return {"size": len(request.body), "pid": os.getpid()}


def wait(request: Request):
    if "gate" in request.query_params:
        wait_at_gate(request.query_params["gate"])
    time.sleep(0.01)
    return request


@app.handler("/prepared", prepare=wait)
def prepared(cache, request: Request):
    return {"size": len(request.body), "pid": os.getpid()}


@app.handler("/file")
def file(cache, file: File):
    return {"size": len(file.read()), "pid": os.getpid()}


@app.handler("/object")
def whole(cache, value: dict):
    return {"size": len(value), "pid": os.getpid()}


@app.handler("/item")
def item(cache, item: Item):
    return {"size": len(item.numbers), "pid": os.getpid()}


@app.handler("/cost", batch=Batch(max_size=8, max_delay=0.001, cost=len, max_cost=10_000_000))
def cost(cache, texts: list[str]):
    return [{"size": len(text)} for text in texts]


@app.background("/job")
def job(cache, item: Item):
    return {"size": len(item.numbers)}


if __name__ == "__main__":
    app.serve()
"""
MIB = 1024 * 1024
ON_DISK = b"z" * 3 * MIB
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bodies")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serve_source(SOURCE, folder) as server:
        yield server


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same app in one process."""
    folder = tmp_path_factory.mktemp("alone")
    with serve_source(SOURCE, folder, env={"ONE": "1", "POTASSIUM_WORKERS": ""}) as server:
        yield server


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as callers:
        yield callers


def send(server: Server, path: str, content: bytes = ON_DISK) -> httpx.Response:
    return server.post(path, content=content, headers=BYTES)


def wait_for(folder: Path, gate: str, count: int = 1) -> list[int]:
    """Wait until so many workers have come to a gate; return their process ids."""
    pattern = f"{gate}.*"
    wait_until(lambda: len(list(folder.glob(pattern))) >= count, f"{count} at {gate}")
    return [int(one.suffix[1:]) for one in folder.glob(pattern)]


@pytest.mark.parametrize("path", ["/read", "/file"])
def test_a_body_on_disk_is_read_in_the_worker(server: Server, path: str) -> None:
    """From the same file, which both close."""
    answer = send(server, path).json()
    assert answer["size"] == len(ON_DISK)
    assert answer["pid"] in workers_of(server)
    wait_until_no_file_is_open(server)


def test_a_worker_has_a_body_open_only_while_it_needs_it(
    server: Server, folder: Path, callers: ThreadPoolExecutor
) -> None:
    call = callers.submit(send, server, "/hold?gate=only")
    (pid,) = wait_for(folder, "only")
    assert len(files_of(pid)) == 1
    (folder / "only").touch()
    assert call.result().json() == {"size": len(ON_DISK), "pid": pid}
    wait_until_no_file_is_open(server)


def test_a_body_is_closed_even_if_its_request_is_kept(server: Server) -> None:
    """Otherwise, each call of such a handler would cost a descriptor."""
    assert send(server, "/keep").json()["pid"] in workers_of(server)
    wait_until_no_file_is_open(server)


def test_bodies_of_calls_that_nobody_wants_any_more_are_closed(
    server: Server, folder: Path, callers: ThreadPoolExecutor
) -> None:
    """Those that run, and those that wait behind them."""

    def leave(path: str) -> None:
        with pytest.raises(httpx.TimeoutException), server.client(timeout=1) as http:
            http.post(path, content=ON_DISK, headers=BYTES)

    calls = [callers.submit(leave, "/hold?gate=left") for _ in range(4)]
    calls += [callers.submit(leave, "/prepared") for _ in range(4)]
    wait_for(folder, "left", 2)
    for call in calls:
        call.result()
    (folder / "left").touch()
    wait_until_no_file_is_open(server)
    assert send(server, "/read").json()["size"] == len(ON_DISK)


def test_a_call_that_another_worker_runs_is_forgotten_where_it_was_prepared(
    server: Server, folder: Path, callers: ThreadPoolExecutor
) -> None:
    """With its body, as everything else of it."""
    held = callers.submit(send, server, "/hold?gate=busy")
    (busy,) = wait_for(folder, "busy")
    calls = [callers.submit(send, server, "/prepared") for _ in range(8)]
    runners = {call.result().json()["pid"] for call in calls}
    assert busy not in runners  # and yet it has prepared some of them
    wait_until(lambda: len(files_of(busy)) == 1, "only the call that it runs", seconds=5)
    (folder / "busy").touch()
    held.result()
    wait_until_no_file_is_open(server)


def test_a_body_goes_with_its_call_from_a_dead_worker_to_another(
    server: Server, folder: Path, callers: ThreadPoolExecutor
) -> None:
    call = callers.submit(send, server, "/prepared?gate=grave")
    (pid,) = wait_for(folder, "grave")
    os.kill(pid, signal.SIGKILL)
    (folder / "grave").touch()
    answer = call.result().json()
    assert answer["size"] == len(ON_DISK)
    assert answer["pid"] != pid
    wait_until_no_file_is_open(server)


def test_a_worker_that_dies_leaves_no_body_open(
    server: Server, folder: Path, callers: ThreadPoolExecutor
) -> None:
    call = callers.submit(send, server, "/hold?gate=dead")
    (pid,) = wait_for(folder, "dead")
    os.kill(pid, signal.SIGKILL)
    assert call.result().json()["code"] == "worker_failed"
    wait_until_no_file_is_open(server)
    wait_until(lambda: len(workers_of(server)) == 2, "two workers")


@pytest.mark.parametrize("size", [1, 65_536, 65_537, MIB, 5 * MIB])
def test_bodies_of_any_size_arrive_whole(server: Server, size: int) -> None:
    content = os.urandom(size)
    answer = send(server, "/read", content).json()
    assert (answer["size"], answer["first"]) == (size, content[:1].hex())


def test_a_large_body_is_bound_in_a_worker(server: Server, folder: Path) -> None:
    """And not in the front, which has others to serve."""
    (folder / "bound").unlink(missing_ok=True)
    answer = server.post("/item", {"numbers": [1] * 100_000}).json()
    assert answer["size"] == 100_000
    bound = set((folder / "bound").read_text().split())
    assert str(answer["pid"]) in bound  # and where it was prepared, if that is another one
    assert str(server.process.pid) not in bound


def test_a_body_that_a_batch_costs_is_bound_where_that_is_computed(server: Server) -> None:
    """The cost of a large text is only known once it is bound."""
    assert server.post("/cost", "x" * 600_000).json() == {"size": 600_000}


INVALID = {
    "no-number": ("/item", json.dumps({"numbers": [1] * 100_000 + ["x"]})),
    "many-faults": ("/item", json.dumps({"numbers": ["x"] * 5000})),
    "no-object": ("/object", json.dumps([1] * 100_000)),
    "no-json": ("/object", '{"a": [' + "1," * 100_000),
    "no-json-item": ("/item", '{"numbers": [' + "1," * 100_000),
    "too-many-values": ("/object", json.dumps({"a": [1] * 600_000})),
    "too-many-values-item": ("/item", json.dumps({"numbers": [1] * 600_000})),
    "no-text": ("/cost", json.dumps([1] * 100_000)),
    "small": ("/item", json.dumps({"numbers": "x"})),
}


def without_id(response: httpx.Response) -> Any:
    problem = response.json()
    del problem["request_id"]
    names = ("content-type", "retry-after")
    return response.status_code, problem, [response.headers.get(name) for name in names]


@pytest.mark.parametrize("fault", INVALID)
def test_an_invalid_body_is_answered_as_in_one_process(
    server: Server, alone: Server, fault: str
) -> None:
    path, content = INVALID[fault]
    answer = server.post(path, content=content.encode())
    assert answer.status_code >= 400
    assert without_id(answer) == without_id(alone.post(path, content=content.encode()))


@pytest.mark.parametrize("path", ["/object", "/item", "/cost"])
def test_another_type_is_answered_as_in_one_process(
    server: Server, alone: Server, path: str
) -> None:
    content, headers = b"x" * 500_000, {"Content-Type": "text/plain"}
    answer = server.post(path, content=content, headers=headers)
    assert answer.status_code == 415
    assert without_id(answer) == without_id(alone.post(path, content=content, headers=headers))


def test_the_body_of_a_background_job_is_checked_before_it_is_accepted(server: Server) -> None:
    accepted = server.post("/job", {"numbers": [1] * 100_000})
    assert accepted.status_code == 202
    refused = server.post("/job", {"numbers": [1] * 100_000 + ["x"]})
    assert refused.json()["code"] == "invalid_input"
    path = accepted.headers["location"]
    wait_until(lambda: server.get(path).json()["status"] == "succeeded", "the job is done")
    assert server.get(f"{path}/output").json() == {"size": 100_000}


def test_many_large_bodies_at_once_are_all_answered(
    server: Server, callers: ThreadPoolExecutor
) -> None:
    """Each with its own content, whichever worker has prepared it."""
    barrier = threading.Barrier(8)

    def call(number: int) -> int:
        barrier.wait()
        size: int = server.post("/item", {"numbers": [1] * (50_000 + number)}).json()["size"]
        return size

    calls: list[Future[int]] = [callers.submit(call, number) for number in range(8)]
    assert [one.result() for one in calls] == [50_000 + number for number in range(8)]
