"""Guess the word behind [MASK]: BERT as an HTTP server. Run it with ``python app.py``."""

from typing import Any

import torch
from transformers import pipeline
from transformers.pipelines import PipelineException

from potassium import HTTPException, Potassium

app = Potassium("bert")


@app.init
def load() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fill_mask = pipeline("fill-mask", model="bert-base-uncased", device=device)
    app.optimize(fill_mask.model)
    app.set_cache({"fill_mask": fill_mask})


@app.handler
def guess(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    prompt = json_in.get("prompt")
    if not isinstance(prompt, str):
        raise HTTPException(422, 'Send {"prompt": "a text with one [MASK] in it"}.')
    try:
        guesses = cache["fill_mask"](prompt, tokenizer_kwargs={"truncation": True})
    except PipelineException as error:  # there is no [MASK], or it is too far into the text
        raise HTTPException(422, str(error)) from error
    return {"outputs": guesses}


if __name__ == "__main__":
    app.serve()
