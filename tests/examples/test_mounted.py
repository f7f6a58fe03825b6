"""The mounted example: a FastAPI app with a model in it."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest


@pytest.fixture(scope="module")
def mounted(run_example: Callable[..., httpx.Client], examples: Path) -> httpx.Client:
    return run_example(examples / "mounted" / "app.py", ready="/model/readyz")


def test_the_parents_own_routes_answer(mounted: httpx.Client) -> None:
    """FastAPI still answers its own routes."""
    assert mounted.get("/languages").json() == ["English", "French", "German"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the station?", "English"),
        ("Où est la gare ?", "French"),
        ("Wo ist der Bahnhof?", "German"),
    ],
)
def test_the_mounted_model_answers(mounted: httpx.Client, text: str, language: str) -> None:
    """The model under its prefix detects the language of a sentence that it has never seen."""
    probabilities = mounted.post("/model/detect", json={"text": text}).json()

    assert max(probabilities, key=probabilities.__getitem__) == language
    assert sum(probabilities.values()) == pytest.approx(1)


def test_the_mounted_model_refuses_bad_input(mounted: httpx.Client) -> None:
    """Below the prefix, errors have the model's format, not FastAPI's."""
    answer = mounted.post("/model/detect", json={"text": ""})

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["code"] == "invalid_input"
