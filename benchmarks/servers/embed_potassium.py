"""MiniLM behind Potassium: ``embed_potassium.py PORT MAX_SIZE MAX_COST``.

POST /embed batches by the number of tokens and tokenizes off the GPU thread; /simple batches the
texts as they come; /single does not batch.
"""

import sys
from typing import Any

from minilm import MiniLM
from pydantic import BaseModel

from potassium import Batch, Limits, Potassium

MAX_SIZE, MAX_COST = (int(argument) for argument in sys.argv[2:4])

app = Potassium("embed", limits=Limits(queue_size=1024))


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
    batch=Batch(max_size=MAX_SIZE, cost=len, max_cost=MAX_COST),
)
def embed(cache: dict[str, Any], items: list[list[int]]) -> Any:
    return cache["minilm"].vectors(items)


@app.handler("/simple", batch=Batch(max_size=MAX_SIZE))
def simple(cache: dict[str, Any], items: list[Text]) -> Any:
    return cache["minilm"].embed([item.text for item in items])


@app.handler("/single")
def single(cache: dict[str, Any], item: Text) -> Any:
    return cache["minilm"].embed([item.text])[0]


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
