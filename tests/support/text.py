"""Toy models of transformers, and a driver of a decoder without a server."""

import copy
from collections.abc import Generator, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from potassium import Step

__all__ = [
    "CONFIGS",
    "TEMPLATE",
    "Texts",
    "byte_tokenizer",
    "expected",
    "toy_model",
    "toy_tokenizer",
    "with_vocabulary",
]

LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,"
END = 0

SMALL: dict[str, Any] = {
    "vocab_size": len(LETTERS) + 1,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "eos_token_id": END,
    "bos_token_id": END,
    "pad_token_id": END,
}

CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SMALL),
    "mistral, which sees 8 tokens": MistralConfig(**SMALL, sliding_window=8),
    "gemma3, of layers of two kinds": Gemma3TextConfig(
        **SMALL,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        tie_word_embeddings=False,
    ),
    "qwen2": Qwen2Config(**SMALL),
    "gpt2, whose positions are learned": GPT2Config(
        vocab_size=SMALL["vocab_size"],
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=128,
        eos_token_id=END,
        bos_token_id=END,
    ),
}


TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "assistant: "
)


def with_vocabulary(size: int) -> PreTrainedConfig:
    """Return the config of a small model with other tokens than letters."""
    return LlamaConfig(**{**SMALL, "vocab_size": size, "max_position_embeddings": 512})


def toy_model(config: PreTrainedConfig | None = None, **options: Any) -> PreTrainedModel:
    """Return a model with random weights, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            copy.deepcopy(config or CONFIGS["llama"]), **options
        )
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)  # so that texts are no repetitions
    return model.eval()


def toy_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are letters."""
    vocabulary = {"<end>": END, **{letter: 1 + i for i, letter in enumerate(LETTERS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")  # noqa: S106


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": END, **{letter: 1 + i for i, letter in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")  # noqa: S106


def expected(model: PreTrainedModel, prompt: Sequence[int], count: int) -> list[int]:
    """Return what transformers generates, without the token that ends it."""
    ids = model.generate(
        torch.tensor([list(prompt)]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=END,
    )
    tokens: list[int] = ids[0].tolist()[len(prompt) :]
    ends = model.generation_config.eos_token_id
    return tokens[:-1] if tokens[-1] in (ends if isinstance(ends, list) else [ends]) else tokens


class Texts:
    """Texts that a decoder generates, driven by hand: a ``step`` for those that are not held."""

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        self.texts: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.errors: dict[str, Exception] = {}
        self.held: set[str] = set()
        self.rows: list[int] = []  # of each step
        self._generators: dict[str, Generator[Any, Any, str]] = {}
        self._waiting: dict[str, Any] = {}

    def begin(self, name: str, prompt: Any, sampling: Any = None) -> None:
        self.texts[name] = ""
        self._generators[name] = self.decoder.generate(prompt, sampling)
        self._go_on(name, None)

    def leave(self, name: str) -> None:
        self._waiting.pop(name, None)
        self._generators.pop(name).close()

    @property
    def open(self) -> list[str]:
        return list(self._waiting)

    def step(self) -> None:
        """Make one step of those that wait and are not held."""
        names = [name for name in self._waiting if name not in self.held]
        if names:
            rows = [self._waiting.pop(name).row for name in names]
            self.rows.append(len(rows))
            for name, result in zip(names, self.decoder.step(rows), strict=True):
                self._go_on(name, result)

    def run(self) -> dict[str, str]:
        """Make steps until all texts have ended."""
        while self._waiting:
            self.step()
        return self.texts

    def _go_on(self, name: str, value: Any) -> None:
        generator = self._generators[name]
        resume = generator.throw if isinstance(value, Exception) else generator.send
        try:
            item = resume(value)
            while not isinstance(item, Step):
                self.texts[name] += item
                item = next(generator)
            self._waiting[name] = item
        except StopIteration as end:
            self.reasons[name] = end.value.reason
        except Exception as error:  # noqa: BLE001 - for the test to look at
            self.errors[name] = error
