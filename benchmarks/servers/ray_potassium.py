"""A no-op handler and a generator of chunks behind Potassium, for replicas of Ray Serve."""

from collections.abc import Iterator
from typing import Any

from chunks import chunks

from potassium import Potassium

app = Potassium("ours")


@app.handler("/noop")
def noop(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


@app.handler("/stream", streams=64)
def stream(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    yield from chunks(json_in["chunks"], json_in["delay"])
