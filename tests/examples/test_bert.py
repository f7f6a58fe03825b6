"""The BERT example, with the real fill-mask pipeline around a tiny model."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

UNPROCESSABLE = httpx.codes.UNPROCESSABLE_ENTITY


@pytest.fixture(scope="module")
def bert(
    run_example: Callable[..., httpx.Client], examples: Path, bert_folder: Path
) -> httpx.Client:
    return run_example(examples / "bert" / "app.py", cwd=bert_folder)


def test_guesses_the_word_behind_the_mask(bert: httpx.Client) -> None:
    """Each guess is the prompt with its mask replaced, the likeliest one first."""
    answer = bert.post("/", json={"prompt": "Hello I am a [MASK] model."})

    outputs = answer.json()["outputs"]
    assert [output["sequence"] for output in outputs] == [
        f"hello i am a {guess} model." for guess in ("fashion", "role", "new", "super", "fine")
    ]


@pytest.mark.parametrize("prompt", ["Hello I am a model.", "hello " * 100 + "[MASK]"])
def test_refuses_a_prompt_whose_mask_the_model_does_not_see(
    bert: httpx.Client, prompt: str
) -> None:
    """A prompt without a mask, or with one past the model's length, is the caller's mistake."""
    answer = bert.post("/", json={"prompt": prompt})

    assert answer.status_code == UNPROCESSABLE
    assert "[MASK]" in answer.json()["detail"]


def test_refuses_what_is_no_prompt(bert: httpx.Client) -> None:
    """A body without a prompt is answered with what to send."""
    answer = bert.post("/", json={"text": "Hello"})

    assert answer.status_code == UNPROCESSABLE
    assert '"prompt"' in answer.json()["detail"]
