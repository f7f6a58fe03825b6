"""Handlers of all kinds, for clients of all kinds: soak.py runs this for minutes."""

import asyncio
import gc
import sys
import time
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from potassium import Limits, Potassium


class Item(BaseModel):
    name: str
    count: int


class Bias(BaseModel):
    bias: dict[int, float] = {}
    values: list[int] = []


async def held(request: Request) -> JSONResponse:
    if request.url.query == "collect":
        gc.collect()
    return JSONResponse({"tasks": len(asyncio.all_tasks()), "blocks": sys.getallocatedblocks()})


app = Potassium(
    "mixed",
    limits=Limits(
        queue_size=16,
        body_size=2**20,
        body_timeout=1,
        head_timeout=2,
        stream_stall_timeout=2,
    ),
    routes=[Route("/held", held, methods=["GET"])],
)


@app.handler
def good(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.005)
    return json_in


@app.handler("/item")
def item(cache: dict[str, Any], item: Item) -> Item:
    return item


@app.handler("/bias")
def bias(cache: dict[str, Any], bias: Bias) -> int:
    return len(bias.bias)


@app.handler("/long")
def long(cache: dict[str, Any], json_in: dict[str, Any]) -> str:
    time.sleep(0.05)
    return "done"


@app.handler("/loop", concurrency=4)
async def loop(cache: dict[str, Any], json_in: dict[str, Any]) -> str:
    await asyncio.sleep(0.02)
    return "done"


@app.handler("/large")
def large(cache: dict[str, Any], json_in: dict[str, Any]) -> bytes:
    return bytes(2 * 2**20)


@app.handler("/fail")
def fail(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
    raise RuntimeError("on purpose")


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="critical")
