"""The generator of chunks.py in a plain Starlette route, which steps it in worker threads."""

import sys

import uvicorn
from chunks import chunks
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


async def handler(request: Request) -> StreamingResponse:
    json_in = await request.json()
    return StreamingResponse(chunks(json_in["chunks"], json_in["delay"]))


app = Starlette(routes=[Route("/", handler, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, ws="none")
