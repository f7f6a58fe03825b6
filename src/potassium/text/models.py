"""What a decoder asks of a model of transformers, and how it is run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

__all__ = ["attention_of_any_shape", "ends_of"]


def ends_of(model: PreTrainedModel, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text."""
    settings = model.generation_config
    ends = None if settings is None else settings.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    return frozenset([] if ends is None else ends if isinstance(ends, list) else [ends])


@contextmanager
def attention_of_any_shape() -> Iterator[None]:
    """Leave out the attention of cuDNN, which makes a plan for each new shape: 40 ms on an H200.

    In half precision, torch prefers it on recent GPUs, and a text that grows is of a new shape in
    each step.
    """
    settings = torch.backends.cuda
    was_enabled = settings.cudnn_sdp_enabled()
    settings.enable_cudnn_sdp(enabled=False)
    try:
        yield
    finally:
        settings.enable_cudnn_sdp(enabled=was_enabled)
