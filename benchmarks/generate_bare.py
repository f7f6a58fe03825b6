"""The decoder's loop without a server, and ``generate``, for what chats ask."""

import time
from typing import Any

import smollm2
import torch

from potassium import Step
from potassium.text import Decoder, Sampling

__all__ = ["alone", "loop"]


def loop(decoder: Decoder, chats: int, count: int, temperature: float = 0) -> float:
    """Return the seconds that all texts take together."""
    sampling = Sampling(max_tokens=count, min_tokens=count, temperature=temperature, seed=1)
    began = time.perf_counter()
    waiting: list[tuple[Any, Any]] = []
    for text in smollm2.prompts(chats):
        prompt = decoder.prompt([{"role": "user", "content": text}])
        generator = decoder.generate(prompt, sampling)
        step = next(generator)
        waiting.append((generator, step))
    while waiting:
        results = decoder.step([step.row for _, step in waiting])
        still = []
        for (generator, _), result in zip(waiting, results, strict=True):
            try:
                step = generator.send(result)
                while not isinstance(step, Step):
                    step = next(generator)
                still.append((generator, step))
            except StopIteration:
                pass
        waiting = still
    return time.perf_counter() - began


def alone(decoder: Decoder, count: int) -> float:
    """Return the seconds that ``generate`` takes for one text."""
    (text,) = smollm2.prompts(1)
    tokens = decoder.prompt([{"role": "user", "content": text}])
    prompt = torch.tensor([tokens], device=decoder.model.device)
    began = time.perf_counter()
    decoder.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
    )
    return time.perf_counter() - began
