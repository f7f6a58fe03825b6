"""Detect languages, inside a FastAPI app with a route of its own. Run it: ``python app.py``."""

import os
from typing import Annotated, Any
from zlib import crc32

import torch
import uvicorn
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from potassium import Potassium

TEXTS = {  # the Universal Declaration of Human Rights, article 1
    "English": "All human beings are born free and equal in dignity and rights. They are endowed "
    "with reason and conscience and should act towards one another in a spirit of brotherhood.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont "
    "doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit "
    "de fraternité.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit "
    "Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
}

model = Potassium("languages")
app = FastAPI()


class Text(BaseModel):
    text: str = Field(min_length=1, max_length=10_000)


def trigrams(text: str) -> torch.Tensor:
    padded = f" {text.lower()} ".encode()
    return torch.tensor([crc32(padded[i : i + 3]) % 4096 for i in range(len(padded) - 2)])


@model.init
def count() -> dict[str, Any]:
    counts = [trigrams(text).bincount(minlength=4096) + 1 for text in TEXTS.values()]
    return {"log_frequencies": torch.stack([(n / n.sum()).log() for n in counts])}


@model.handler("/detect")
def detect(cache: dict[str, Any], item: Text) -> dict[str, float]:
    scores = cache["log_frequencies"][:, trigrams(item.text)].sum(dim=1)  # naive Bayes
    return dict(zip(TEXTS, scores.softmax(dim=0).tolist(), strict=True))


@app.get("/language")
async def language(text: Annotated[str, Query(min_length=1, max_length=1_000)]) -> str:
    scores: dict[str, Any] = await model.call("/detect", {"text": text})
    return max(scores, key=lambda name: scores[name])


# Everything under /model is in /docs, and dependencies=[Depends(...)] would protect it.
app.include_router(model.router_for_fastapi(), prefix="/model")

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("POTASSIUM_PORT", "8000")))
