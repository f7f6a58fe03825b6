"""Batches that do not fit in the accelerator's memory."""

import time
from pathlib import Path

import pytest
from e2e.batches import APP, batches, items, outcomes
from e2e.server import Server, Start

ROOM = 2  # inputs that fit in memory
TOO_LARGE = (503, "out_of_memory")

SOURCE = (
    APP
    + f"""
import torch


def run(items):
    begin(items)
    has_room = items[0].gate and pathlib.Path(items[0].gate).exists()
    if (len(items) > {ROOM} and not has_room) or any(item.fault for item in items):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    return [item.number * 10 for item in items]


@app.handler("/batch", batch=Batch(max_size=8))
def batch(cache, items: list[Item]):
    return run(items)


@app.handler("/yields", batch=Batch(max_size=8))
def yields(cache, items: list[Item]):
    yield from run(items)


if __name__ == "__main__":
    app.serve()
"""
)
PATHS = pytest.mark.parametrize("path", ["/batch", "/yields"])


@pytest.fixture
def server(start: Start) -> Server:
    """A new server for each test, because a server remembers what did not fit."""
    return start(SOURCE)


@PATHS
def test_a_batch_out_of_memory_is_halved(server: Server, name: str, gate: Path, path: str) -> None:
    """If memory holds two inputs, all eight are served, by the same process."""
    assert outcomes(server, gate, path, items(name, 8)) == [number * 10 for number in range(8)]
    sizes = [len(batch) for batch in batches(server, name)]
    assert (sizes[0], sizes[-1] <= ROOM) == (8, True)
    assert server.process.poll() is None
    assert server.get("/readyz").status_code == 200


@PATHS
def test_an_input_out_of_memory_fails_alone(
    server: Server, name: str, gate: Path, path: str
) -> None:
    """An input that does not fit by itself is answered 503; its neighbours are served."""
    results = outcomes(server, gate, path, items(name, 8, _6="too large"))
    assert results == [number * 10 if number != 6 else TOO_LARGE for number in range(8)]


def test_a_lone_input_out_of_memory_is_told_so(server: Server, name: str) -> None:
    """A batch of one that does not fit is answered 503, and the next call is served."""
    response = server.post("/batch", {"name": name, "number": 1, "fault": "too large"})
    assert (response.status_code, response.json()["code"]) == TOO_LARGE
    assert server.post("/batch", {"name": name, "number": 2}).json() == 20


def test_the_size_that_worked_is_remembered(server: Server, name: str, tmp_path: Path) -> None:
    """After a batch ran out of memory, the next one is not tried at the full size again."""
    outcomes(server, tmp_path / "gate a", "/batch", items(f"{name} a", 8))
    results = outcomes(server, tmp_path / "gate b", "/batch", items(f"{name} b", 8))
    assert results == [number * 10 for number in range(8)]
    assert max(len(batch) for batch in batches(server, f"{name} b")) < 8


def test_larger_batches_are_tried_again(server: Server, name: str, tmp_path: Path) -> None:
    """Once there is memory again, batches grow back to their full size."""
    outcomes(server, tmp_path / "gate", "/batch", items(f"{name} a", 8))
    room = tmp_path / "room"
    room.touch()
    bodies = [{**item, "gate": str(room)} for item in items(f"{name} b", 32)]
    largest, end = 0, time.monotonic() + 20
    while largest < 8 and time.monotonic() < end:
        outcomes(server, tmp_path / f"gate {time.monotonic()}", "/batch", bodies)
        largest = max(len(batch) for batch in batches(server, f"{name} b"))
    assert largest == 8


def test_a_size_is_remembered_for_its_handler_alone(
    server: Server, name: str, tmp_path: Path
) -> None:
    """Another handler's batches keep their size."""
    outcomes(server, tmp_path / "gate a", "/batch", items(f"{name} a", 8))
    outcomes(server, tmp_path / "gate b", "/yields", items(f"{name} b", 8))
    assert len(batches(server, f"{name} b")[0]) == 8


def test_an_input_that_does_not_fit_alone_says_little_of_others(
    server: Server, name: str, tmp_path: Path
) -> None:
    """The inputs beside it ran in fours, so later batches do not run one by one."""
    room = tmp_path / "room"
    room.touch()
    bodies = [{**item, "gate": str(room)} for item in items(f"{name} a", 8, _6="too large")]
    outcomes(server, tmp_path / "gate a", "/batch", bodies)
    after = [{**item, "gate": str(room)} for item in items(f"{name} b", 8)]
    outcomes(server, tmp_path / "gate b", "/batch", after)
    assert max(len(batch) for batch in batches(server, f"{name} a")[1:]) == 4
    assert max(len(batch) for batch in batches(server, f"{name} b")) >= 4
