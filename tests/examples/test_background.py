"""The background example: its job, and a receiver that accepts only signed webhooks."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.server import Server, free_port, python, serve, wait_until

LINE = {"x": [1, 2, 3], "y": [3, 5, 7]}
OTHER = "whsec_" + "b3RoZXIg" * 5
START_TIME = 60.0  # seconds; importing torch takes some of them


@pytest.fixture(scope="module")
def receiver(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port, log_file = free_port(), tmp_path_factory.mktemp("receiver") / "receiver.log"
    command = [*python(examples / "background" / "receiver.py"), str(port)]
    with serve(command, log_file, port=port, ready="/", start_time=START_TIME) as server:
        yield server


def app(
    examples: Path, folder: Path, receiver: Server, **env: str
) -> AbstractContextManager[Server]:
    return serve(
        python(examples / "background" / "app.py"),
        folder / "server.log",
        port=free_port(),
        cwd=folder,
        env={"WEBHOOK_RECEIVER": f"http://127.0.0.1:{receiver.port}/", **env},
        start_time=START_TIME,
    )


def train(server: Server) -> dict[str, Any]:
    job = httpx.post(f"http://127.0.0.1:{server.port}/train", json=LINE)
    assert job.status_code == 202
    url = f"http://127.0.0.1:{server.port}{job.headers['location']}"
    document: dict[str, Any] = httpx.get(url, headers={"Prefer": "wait=30"}, timeout=40).json()
    return document


def test_it_trains_and_tells(examples: Path, tmp_path: Path, receiver: Server) -> None:
    """The job ends with what it learned, and the receiver prints the same."""
    with app(examples, tmp_path, receiver) as server:
        document = train(server)
        assert document["status"] == "succeeded"
        assert document["progress"] == 1
        assert document["output"]["loss"] < 1
        wait_until(lambda: "slope" in receiver.log_file.read_text(), "a webhook that is taken")
    assert str(document["output"]["slope"])[:6] in receiver.log_file.read_text()


def test_the_receiver_takes_nothing_that_others_signed(
    examples: Path, tmp_path: Path, receiver: Server
) -> None:
    """A delivery that is signed with another secret is refused."""
    with app(examples, tmp_path, receiver, WEBHOOK_SECRET=OTHER) as server:
        document = train(server)
        url = f"http://127.0.0.1:{server.port}/jobs/{document['id']}/deliveries"
        wait_until(lambda: httpx.get(url).json()["deliveries"], "an attempt")
        [delivery] = httpx.get(url).json()["deliveries"]
    assert delivery["attempts"][0]["status"] == 401, json.dumps(delivery)
