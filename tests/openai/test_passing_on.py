"""How the routes of OpenAI's API pass requests on."""

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.asgi import Exchange

from potassium import Potassium
from potassium.handlers.validated import Validated
from potassium.http.message import Message
from potassium.openai import ChatRequest, OpenAI
from potassium.serving.composition import parts_of

CHATS = "/v1/chat/completions"
RESPONSES = "/v1/responses"


@pytest.fixture
def app() -> Potassium:
    app = Potassium("front")
    api = OpenAI(app, model="toy")

    @api.chat()
    def chat(cache: dict[str, Any], request: ChatRequest) -> Iterator[str]:
        yield str(len(request.conversation[-1]["content"]))

    @api.chat(model="small", body_size=1024)
    def small(cache: dict[str, Any], request: ChatRequest) -> str:
        return "small"

    return app


def body_of(path: str, size: int, **more: Any) -> bytes:
    text = "a" * size
    said = {"messages": [{"role": "user", "content": text}]} if path == CHATS else {"input": text}
    return json.dumps({"model": "toy", **said, **more}).encode()


async def status_of(app: Potassium, path: str, body: bytes) -> int:
    exchange = Exchange(app, body=body, path=path)
    start = await exchange.next()
    await exchange.rest()
    status: int = start["status"]
    return status


@pytest.mark.parametrize("path", [CHATS, RESPONSES])
@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize(
    ("more", "status"),
    [({"stream": True}, 200), ({}, 200), ({"stream": "wrong"}, 400), ({"model": "other"}, 404)],
)
async def test_the_body_is_freed(
    app: Potassium, path: str, size: int, more: dict[str, Any], status: int
) -> None:
    """Nothing of an answered or a refused call is kept, or counted."""
    gc.collect()
    gc.disable()
    body = body_of(path, size, **more)
    try:
        async with app.lifespan():
            before = sys.getrefcount(body)
            for _ in range(3):
                assert await status_of(app, path, body) == status
            await asyncio.sleep(0.05)  # longer than a call counts as young
            assert sys.getrefcount(body) == before
            assert parts_of(app).plan.bodies.memory.held == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("path", [CHATS, RESPONSES])
async def test_a_large_body_is_read_on_other_threads(
    app: Potassium, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsing it would hold the event loop up."""
    threads: list[threading.Thread] = []
    bind = Validated.__call__

    def bound(binding: Validated, message: Message) -> Any:
        threads.append(threading.current_thread())
        return bind(binding, message)

    monkeypatch.setattr(Validated, "__call__", bound)
    async with app.lifespan():
        assert await status_of(app, path, body_of(path, 10)) == 200
        assert threads == [threading.current_thread()] * 2
        assert await status_of(app, path, body_of(path, 1_000_000)) == 200
    assert len(threads) == 4
    assert threading.current_thread() not in threads[2:]


@pytest.mark.parametrize("path", [CHATS, RESPONSES])
async def test_each_handler_has_a_limit_of_its_own(app: Potassium, path: str) -> None:
    """The route reads as much as any handler may take."""
    async with app.lifespan():
        assert await status_of(app, path, body_of(path, 2000, model="small")) == 413
        assert await status_of(app, path, body_of(path, 10, model="small")) == 200
        assert await status_of(app, path, body_of(path, 2000)) == 200
