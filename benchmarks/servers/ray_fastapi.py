"""The same handlers written for Ray Serve by hand, with FastAPI as its documentation does it.

``/noop`` is a plain function, which FastAPI runs on a thread: a model would hold up the event loop
otherwise. ``/noop-async`` is one that holds it up.
"""

from typing import Any

from chunks import chunks
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from ray import serve

app = FastAPI()


class Item(BaseModel):
    """What both handlers take."""

    x: float = 0.0
    chunks: int = 0
    delay: float = 0.0


@serve.deployment(
    name="by-hand",
    num_replicas=2,
    max_ongoing_requests=512,
    ray_actor_options={"num_cpus": 0},
)
@serve.ingress(app)
class ByHand:
    """A replica."""

    @app.post("/noop")
    def noop(self, item: Item) -> dict[str, Any]:
        return {"out": item.x}

    @app.post("/noop-async")
    async def noop_async(self, item: Item) -> dict[str, Any]:
        return {"out": item.x}

    @app.post("/stream")
    def stream(self, item: Item) -> StreamingResponse:
        return StreamingResponse(chunks(item.chunks, item.delay), media_type="text/plain")


deployed: Any = ByHand
main = deployed.bind()
