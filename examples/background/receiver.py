"""Receive webhooks, and refuse unsigned ones. Run it with ``python receiver.py``."""

import os
import sys

import uvicorn
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET = os.environ.get("WEBHOOK_SECRET", "whsec_cG90YXNzaXVtIHBvdGFzc2l1bSBwb3Rhc3NpdW0hIQ==")
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8001

seen: set[str] = set()


async def hello(request: Request) -> Response:
    return Response("Post webhooks here.")


async def receive(request: Request) -> Response:
    body = await request.body()
    try:
        result = Webhook(SECRET).verify(body, dict(request.headers))
    except WebhookVerificationError as error:
        return Response(str(error), 401)
    # The same webhook may come twice, if the answer to the first delivery was lost.
    if request.headers["webhook-id"] not in seen:
        seen.add(request.headers["webhook-id"])
        print(result, flush=True)
    return Response(status_code=204)


if __name__ == "__main__":
    routes = [Route("/", hello), Route("/", receive, methods=["POST"])]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=PORT, log_level="warning")
