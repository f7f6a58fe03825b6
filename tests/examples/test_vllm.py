"""The example in front of vLLM's engine, with a stand-in for vLLM, which wants a GPU."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

MODEL = "qwen3-8b"


@pytest.fixture(scope="module")
def vllm(
    run_example: Callable[..., httpx.Client], examples: Path, in_place_of_vllm: dict[str, str]
) -> httpx.Client:
    return run_example(examples / "vllm" / "app.py", env=in_place_of_vllm)


@pytest.fixture
def aborted(in_place_of_vllm: dict[str, str]) -> Path:
    return Path(in_place_of_vllm["ABORTED"])


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def test_a_chat(vllm: httpx.Client) -> None:
    answer = vllm.post("/v1/chat/completions", json=body("Hello")).json()
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


def test_a_chat_has_an_end_and_a_form(vllm: httpx.Client) -> None:
    answer = vllm.post("/v1/chat/completions", json=body("Hello", max_tokens=2)).json()
    assert answer["choices"][0]["message"]["content"] == "He"
    assert answer["choices"][0]["finish_reason"] == "length"
    form = {"type": "json_object"}
    answer = vllm.post("/v1/chat/completions", json=body("Hello", response_format=form)).json()
    assert answer["choices"][0]["message"]["content"] == '{"a": 1}'


def test_a_text_is_completed(vllm: httpx.Client) -> None:
    for prompt in ("Once", list(map(ord, "Once"))):
        answer = vllm.post("/v1/completions", json={"model": MODEL, "prompt": prompt}).json()
        assert answer["choices"][0]["text"] == "Once"


def test_a_text_whose_client_leaves_is_aborted(vllm: httpx.Client, aborted: Path) -> None:
    assert aborted.read_text() == ""
    asked = body("x" * 3000, stream=True)
    with vllm.stream("POST", "/v1/chat/completions", json=asked) as answer:
        next(answer.iter_lines())
    end = time.monotonic() + 10
    while not aborted.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
