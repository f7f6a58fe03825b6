"""The example of a FastAPI app with a model in it."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

SENTENCES = pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the station?", "English"),
        ("Où est la gare ?", "French"),
        ("Wo ist der Bahnhof?", "German"),
    ],
)


@pytest.fixture(scope="module")
def mounted(run_example: Callable[..., httpx.Client], examples: Path) -> httpx.Client:
    return run_example(examples / "mounted" / "app.py", ready="/model/readyz")


@SENTENCES
def test_a_route_of_the_parent_calls_the_model(
    mounted: httpx.Client, text: str, language: str
) -> None:
    """FastAPI answers its own route with what the model returns in the same process."""
    assert mounted.get("/language", params={"text": text}).json() == language


@SENTENCES
def test_the_model_answers_under_its_prefix(
    mounted: httpx.Client, text: str, language: str
) -> None:
    """It detects the language of a sentence that it has never seen."""
    probabilities = mounted.post("/model/detect", json={"text": text}).json()

    assert max(probabilities, key=probabilities.__getitem__) == language
    assert sum(probabilities.values()) == pytest.approx(1)


def test_the_model_refuses_bad_input(mounted: httpx.Client) -> None:
    """Below the prefix, errors have the model's format, not FastAPI's."""
    answer = mounted.post("/model/detect", json={"text": ""})

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["code"] == "invalid_input"


def test_the_model_is_in_the_documentation_of_the_parent(mounted: httpx.Client) -> None:
    """With the model of its input."""
    body = mounted.get("/openapi.json").json()["paths"]["/model/detect"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["title"] == "Text"
