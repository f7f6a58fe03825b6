"""Count words on every GPU of a cluster. Run it here: ``potassium ray app.py --replicas 2``."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from potassium import Batch, Jobs, Limits, Potassium

DATABASE = os.environ.get("DATABASE_URL")  # postgresql://USER@HOST/DATABASE

app = Potassium(
    "words",
    limits=Limits(queue_size=64, timeout=20),
    jobs=Jobs(url=DATABASE) if DATABASE else None,
    metrics=True,
)


class Text(BaseModel):
    text: str = Field(min_length=1, max_length=100_000)


@app.init
def load() -> dict[str, Any]:
    return {"model": Counter, "replica": f"{socket.gethostname()}:{os.getpid()}"}


@app.handler("/count", batch=Batch(max_size=16))
def count(cache: dict[str, Any], items: list[Text]) -> list[dict[str, Any]]:
    counts = [cache["model"](item.text.lower().split()) for item in items]
    return [{"most": each.most_common(3), "replica": cache["replica"]} for each in counts]


@app.handler("/words", streams=8)
def words(cache: dict[str, Any], item: Text) -> Iterator[dict[str, str]]:
    for word in item.text.split():
        yield {"word": word}


if __name__ == "__main__":
    app.serve()
