"""(c) The same handler behind a bounded queue; a task hops to a thread for every request."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

Call = tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]

calls: asyncio.Queue[Call] = asyncio.Queue(256)


def model(json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


async def drain() -> None:
    limiter = anyio.CapacityLimiter(1)
    while True:
        json_in, answer = await calls.get()
        answer.set_result(await anyio.to_thread.run_sync(model, json_in, limiter=limiter))


async def handler(request: Request) -> JSONResponse:
    json_in = await request.json()
    answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    try:
        calls.put_nowait((json_in, answer))
    except asyncio.QueueFull:
        return JSONResponse({"error": "queue_full"}, 503)
    return JSONResponse(await answer)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    task = asyncio.create_task(drain())
    yield
    task.cancel()


app = Starlette(routes=[Route("/", handler, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, ws="none")
