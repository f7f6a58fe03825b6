"""The works of work.py behind Potassium, with a worker for each device or in one process."""

import sys
from collections.abc import Iterator
from typing import Any

import devices
import work
from chunks import chunks

from potassium import Limits, Potassium

app = Potassium("workers", limits=Limits(grace_period=1), **devices.options())


@app.init
def init() -> dict[str, Any]:
    work.init()
    return {}


@app.handler("/busy")
def busy(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return work.busy(json_in)


@app.handler("/noop")
def noop(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return work.noop(json_in)


@app.handler("/json")
def json(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return json_in


@app.handler("/bytes")
def raw(cache: dict[str, Any], body: bytes) -> bytes:
    return body


@app.handler("/nap")
def nap(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return work.nap(json_in)


@app.handler("/stream", streams=64)
def stream(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    yield from chunks(json_in["chunks"], json_in["delay"])


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
