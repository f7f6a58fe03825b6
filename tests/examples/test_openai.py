"""The example of OpenAI's API, called by OpenAI's own client."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

openai = pytest.importorskip("openai")

START_TIME = 120.0  # seconds; transformers takes 15 to read the model's file, if nothing else runs
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
CAPITAL = "The capital of France is Paris."

pytestmark = pytest.mark.timeout(2 * START_TIME)


@pytest.fixture(scope="module")
def sdk(run_example: Callable[..., httpx.Client], examples: Path) -> Any:
    http = run_example(examples / "openai" / "app.py", start_time=START_TIME)
    return openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", timeout=120)


def test_a_chat(sdk: Any) -> None:
    answer = sdk.chat.completions.create(model="smollm2", messages=FRANCE)
    assert answer.choices[0].message.content == CAPITAL
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 8  # with the one that ends it


def test_a_chat_comes_word_by_word(sdk: Any) -> None:
    chunks = sdk.chat.completions.create(model="smollm2", messages=FRANCE, stream=True)
    words = [chunk.choices[0].delta.content for chunk in chunks]
    assert "|".join(filter(None, words)) == "The| capital| of| France| is| Paris|."


def test_structured_output(sdk: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
    answer = sdk.chat.completions.create(
        model="smollm2", messages=FRANCE, response_format=form, max_tokens=60
    )
    assert list(json.loads(answer.choices[0].message.content)) == ["capital"]


def test_a_text_is_completed(sdk: Any) -> None:
    answer = sdk.completions.create(model="smollm2", prompt="One, two, three,", max_tokens=4)
    assert answer.choices[0].text.startswith(" four")
    assert answer.choices[0].finish_reason == "length"


def test_vectors_of_similar_texts_are_alike(sdk: Any) -> None:
    texts = ["A cat is asleep.", "The kitten takes a nap.", "Share prices fell sharply."]
    answer = sdk.embeddings.create(model="minilm", input=texts)
    cat, kitten, shares = (one.embedding for one in answer.data)
    alike, other = (sum(a * b for a, b in zip(cat, one, strict=True)) for one in (kitten, shares))
    assert alike > 0.5 > other
    assert answer.usage.prompt_tokens == 22
    alone = sdk.embeddings.create(model="minilm", input=texts[0]).data[0].embedding
    assert alone == pytest.approx(cat, abs=1e-5)


def test_what_a_model_cannot_do_is_said(sdk: Any) -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    with pytest.raises(openai.UnprocessableEntityError, match="takes no tools"):
        sdk.chat.completions.create(model="smollm2", messages=FRANCE, tools=[tool])
    with pytest.raises(openai.NotFoundError, match="has no chat"):
        sdk.chat.completions.create(model="minilm", messages=FRANCE)
    with pytest.raises(openai.UnprocessableEntityError, match="not tokens"):
        sdk.embeddings.create(model="minilm", input=[1, 2, 3])
