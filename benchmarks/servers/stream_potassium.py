"""The generator of chunks.py behind Potassium, whose streams take turns on the GPU thread."""

import sys
from collections.abc import Iterator
from typing import Any

from chunks import chunks

from potassium import Potassium

app = Potassium("stream")


@app.handler("/", streams=64)
def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    yield from chunks(json_in["chunks"], json_in["delay"])


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
