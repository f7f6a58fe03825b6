"""MiniLM behind Potassium: ``embed_potassium.py PORT``.

POST /embed batches by the number of tokens and tokenizes off the GPU thread; /simple batches the
texts as they come; /single does not batch. /nap is how workers.py knows which workers are ready.
"""

import os
import sys
from typing import Any

import devices
import work
from minilm import MAX_COST, MiniLM
from pydantic import BaseModel

from potassium import Batch, Limits, Potassium

MAX_SIZE = 32

app = Potassium("embed", limits=Limits(queue_size=1024), **devices.options())


class Text(BaseModel):
    text: str


@app.init
def load() -> dict[str, Any]:
    return {"minilm": MiniLM()}


def tokens(cache: dict[str, Any], item: Text) -> list[int]:
    made: list[int] = cache["minilm"].tokens(item.text)
    return made


@app.handler(
    "/embed",
    prepare=tokens,
    batch=Batch(max_size=MAX_SIZE, cost=len, max_cost=int(os.environ.get(MAX_COST, "384"))),
)
def embed(cache: dict[str, Any], items: list[list[int]]) -> Any:
    return cache["minilm"].vectors(items)


@app.handler("/simple", batch=Batch(max_size=MAX_SIZE))
def simple(cache: dict[str, Any], items: list[Text]) -> Any:
    return cache["minilm"].embed([item.text for item in items])


@app.handler("/single")
def single(cache: dict[str, Any], item: Text) -> Any:
    return cache["minilm"].embed([item.text])[0]


@app.handler("/nap")
def nap(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return work.nap(json_in)


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
