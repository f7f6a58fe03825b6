"""The same loop in a plain Starlette app, in a worker thread, under the same uvicorn settings."""

import sys
import time

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def model(seconds: float) -> int:
    rounds = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        rounds += 1
    return rounds


async def handler(request: Request) -> JSONResponse:
    json_in = await request.json()
    return JSONResponse({"rounds": await anyio.to_thread.run_sync(model, json_in["seconds"])})


async def healthz(_: Request) -> JSONResponse:
    return JSONResponse({"state": "ready"})


app = Starlette(
    routes=[
        Route("/", handler, methods=["POST"]),
        Route("/healthz", healthz, methods=["GET"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, ws="none")
