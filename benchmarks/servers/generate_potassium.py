"""Chats with SmolLM2 by OpenAI's API: ``generate_potassium.py PORT turns|together``.

``turns`` runs the model for each chat's next token alone, ``together`` for those of all chats.
"""

import sys
import time
from collections.abc import Generator, Iterator
from typing import Any

import generate_bare
import smollm2
import torch
from tokenizers.decoders import DecodeStream

from potassium import Limits, Potassium, Step
from potassium.openai import ChatRequest, Finish, OpenAI
from potassium.text import Decoder, Row, Sampling

STALLED = 256  # streams beside the chats
PIECE = "x" * 2**16  # of a text that nobody reads

# Clients that read nothing may go on with that.
LIMITS = Limits(stream_stall_timeout=600, responses_size=2**31)

app = Potassium("chats", limits=LIMITS)
api = OpenAI(app, model=smollm2.NAME)
spent = {"seconds": 0.0, "steps": 0}  # inside of the step


@app.init
def init() -> dict[str, Any]:
    model, tokenizer = smollm2.loaded()
    return {"decoder": Decoder(model, tokenizer, rows=smollm2.ROWS, length=smollm2.LENGTH)}


def forward(cache: dict[str, Any], rows: list[Row]) -> list[Any]:
    decoder: Decoder = cache["decoder"]
    began = time.perf_counter()
    try:
        return decoder.step(rows)
    finally:
        spent["seconds"] += time.perf_counter() - began
        spent["steps"] += 1


@app.handler("/spent")
def spent_inside(cache: dict[str, Any], item: dict[str, Any]) -> dict[str, float]:
    return spent


@app.handler("/bare")
def bare(cache: dict[str, Any], how: dict[str, Any]) -> dict[str, float]:
    """Do what chats ask without them, on the same thread."""
    decoder, count = cache["decoder"], how["tokens"]
    seconds = generate_bare.loop(decoder, how["chats"], count, how["temperature"])
    return {"loop": seconds, "generate": generate_bare.alone(decoder, count)}


def together(
    cache: dict[str, Any], request: ChatRequest
) -> Generator[Step[Row] | str | Finish, Any, None]:
    if request.conversation[-1]["content"] == smollm2.ENDLESS:
        while True:
            yield PIECE
    decoder, count = cache["decoder"], request.token_limit
    how = Sampling(
        max_tokens=count, min_tokens=count or 0, temperature=request.temperature or 0.0, seed=1
    )
    yield (yield from decoder.generate(decoder.prompt(request.conversation), how))


def turns(cache: dict[str, Any], request: ChatRequest) -> Iterator[str | Finish]:
    decoder, count = cache["decoder"], request.token_limit or 0
    prompt = decoder.prompt(request.conversation)
    tokens = torch.tensor([prompt], device=decoder.model.device)
    ends, past, text = list(decoder.ends), None, DecodeStream(skip_special_tokens=True)
    with torch.inference_mode():
        for _ in range(count):
            output = decoder.model(tokens, past_key_values=past, use_cache=True, logits_to_keep=1)
            scores, past = output.logits[:, -1], output.past_key_values
            scores[:, ends] = -torch.inf
            tokens = scores.argmax(dim=-1, keepdim=True)
            if piece := text.step(decoder.tokenizer.backend_tokenizer, tokens.item()):
                yield piece
    yield Finish(reason="length", prompt_tokens=len(prompt), completion_tokens=count)


if sys.argv[2] == "together":
    api.chat(streams=smollm2.ROWS + STALLED, step=forward)(together)
else:
    api.chat(streams=smollm2.ROWS)(turns)

if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
