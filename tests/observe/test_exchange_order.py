"""Whoever measures is told of each request, in an order that nests."""

from starlette.types import Receive, Scope, Send
from support.asgi import scope

from potassium.http.exchange import SCOPE_KEY, Exchange
from potassium.observe.exchanges import Exchanges


class Observer:
    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self.told = name, told

    def began(self, exchange: Exchange) -> None:
        self.told.append(f"{self.name} began")

    def ended(self, exchange: Exchange) -> None:
        self.told.append(f"{self.name} ended {exchange.status} {exchange.sent}")


async def test_who_is_told_first_of_a_beginning_is_told_last_of_the_end() -> None:
    """So what one of them sets up at the beginning is there for the others until the end."""
    told: list[str] = []
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(SCOPE_KEY in scope)
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"abc"})

    async def sink(message: object) -> None: ...

    request = scope()
    observers = [Observer("a", told), Observer("b", told)]
    await Exchanges(app, observers, ())(request, sink, sink)  # type: ignore[arg-type]
    assert told == ["a began", "b began", "b ended 201 3", "a ended 201 3"]
    assert seen == [True]
    assert SCOPE_KEY not in request
