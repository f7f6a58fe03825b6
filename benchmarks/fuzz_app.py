"""The app that fuzz.py drives: a handler of each kind, none of which ever fails."""

import time
from typing import Annotated, Any

from pydantic import BaseModel, Field

from potassium import Limits, Potassium, Request, Response

QUEUE_SIZE = 8
BODY_SIZE = 16 * 1024
BODY_TIMEOUT = 0.02  # seconds


# Larger ones can be read but not sent, as documented.
Integer = Annotated[int, Field(ge=-(2**63), lt=2**64)]


class Item(BaseModel):
    """A model for pydantic to validate."""

    name: str = Field(max_length=20)
    count: Integer = 1
    ratio: float | None = None
    tags: list[str] = []
    more: dict[str, "Item"] = {}


def build() -> Potassium:
    """Return the app."""
    limits = Limits(
        queue_size=QUEUE_SIZE, body_size=BODY_SIZE, body_timeout=BODY_TIMEOUT, priorities=True
    )
    app = Potassium("fuzz", limits=limits)

    @app.handler("/")
    def echo(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return json_in

    @app.handler("/loop", concurrency=2)
    async def loop(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return json_in

    @app.handler("/item")
    def item(cache: dict[str, Any], item: Item) -> Item:
        return item

    @app.handler("/any")
    def whatever(
        cache: dict[str, Any], value: list[Integer] | dict[str, float] | str | None
    ) -> Any:
        return value

    @app.handler("/raw")
    def raw(cache: dict[str, Any], body: bytes) -> bytes:
        return body

    @app.handler("/whole")
    def whole(cache: dict[str, Any], request: Request) -> Response:
        about = {"id": request.id, "headers": dict(request.headers), "json": request.json}
        return Response(status=201, json=about)

    @app.handler("/slow")
    def slow(cache: dict[str, Any], body: bytes) -> int:
        time.sleep(0.012)  # long enough for the server to see a client leave
        return len(body)

    return app


JSON_PATHS = ("/", "/loop", "/item", "/any", "/whole")
PATHS = (*JSON_PATHS, "/raw")
SLOW_PATH = "/slow"
EXAMPLES = {
    "/": b'{"x": 1.0, "y": [true, null, "a\\u00e9"]}',
    "/loop": b'{"prompt": "Hello I am a [MASK] model."}',
    "/item": b'{"name": "a", "count": 3, "ratio": 0.5, "more": {"c": {"name": "d"}}}',
    "/any": b"[1, 2, 3]",
    "/whole": b'{"x": 1.0}',
    "/raw": b"\x89PNG\r\n",
    "/slow": b"\x00",
}
