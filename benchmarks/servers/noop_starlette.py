"""(b) The same handler as a plain Starlette route: no queue, no thread, no limits."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def handler(request: Request) -> JSONResponse:
    json_in = await request.json()
    return JSONResponse({"out": json_in["x"]})


app = Starlette(routes=[Route("/", handler, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, ws="none")
