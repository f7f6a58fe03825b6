"""The example of an app for a cluster, as one server; tests/ray_serve has it on Ray."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest


@pytest.fixture(scope="module")
def words(run_example: Callable[..., httpx.Client], examples: Path) -> httpx.Client:
    return run_example(examples / "cluster" / "app.py")


def test_it_counts_words(words: httpx.Client) -> None:
    answer = words.post("/count", json={"text": "to be or not to be"}).json()
    assert answer["most"] == [["to", 2], ["be", 2], ["or", 1]]


def test_it_streams_words(words: httpx.Client) -> None:
    answer = words.post("/words", json={"text": "to be"}, headers={"accept": "text/event-stream"})
    assert answer.text.index('"to"') < answer.text.index('"be"')


def test_it_says_what_it_takes(words: httpx.Client) -> None:
    answer = words.post("/count", json={"text": ""})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
