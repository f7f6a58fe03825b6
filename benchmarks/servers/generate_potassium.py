"""Chats with SmolLM2: ``generate_potassium.py PORT turns|together``.

``turns`` runs the model for each chat's next token alone, ``together`` for those of all chats.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

import smollm2
import torch
from tokenizers.decoders import DecodeStream

from potassium import Potassium
from potassium.text import Decoder, Sampling

app = Potassium("chats")
spent = {"seconds": 0.0, "steps": 0}  # inside of the step


@app.init
def init() -> dict[str, Any]:
    model, tokenizer = smollm2.loaded()
    return {"decoder": Decoder(model, tokenizer, rows=smollm2.ROWS, length=512)}


def forward(cache: dict[str, Any], rows: list[Any]) -> Any:
    began = time.perf_counter()
    try:
        return cache["decoder"].step(rows)
    finally:
        spent["seconds"] += time.perf_counter() - began
        spent["steps"] += 1


@app.handler("/spent")
def spent_inside(cache: dict[str, Any], item: dict[str, Any]) -> dict[str, float]:
    return spent


def prompt_of(cache: dict[str, Any], item: dict[str, Any]) -> list[int]:
    tokens: list[int] = cache["decoder"].prompt([{"role": "user", "content": item["text"]}])
    return tokens


def together(cache: dict[str, Any], item: dict[str, Any]) -> Iterator[Any]:
    count = item["tokens"]
    sampling = Sampling(max_tokens=count, min_tokens=count, temperature=item["temperature"], seed=1)
    yield from cache["decoder"].generate(prompt_of(cache, item), sampling)


def turns(cache: dict[str, Any], item: dict[str, Any]) -> Iterator[str]:
    decoder = cache["decoder"]
    tokens = torch.tensor([prompt_of(cache, item)], device=decoder.model.device)
    ends, past, text = list(decoder.ends), None, DecodeStream(skip_special_tokens=True)
    with torch.inference_mode():
        for _ in range(item["tokens"]):
            output = decoder.model(tokens, past_key_values=past, use_cache=True, logits_to_keep=1)
            scores, past = output.logits[:, -1], output.past_key_values
            scores[:, ends] = -torch.inf
            tokens = scores.argmax(dim=-1, keepdim=True)
            if piece := text.step(decoder.tokenizer.backend_tokenizer, tokens.item()):
                yield piece


if sys.argv[2] == "together":
    app.handler(streams=smollm2.ROWS, step=forward)(together)
else:
    app.handler(streams=smollm2.ROWS)(turns)

if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
