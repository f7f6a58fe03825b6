"""Calls in the process: what tests of them share."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from potassium import Potassium, Request

__all__ = ["Gate", "Own", "held", "outcome", "until"]


class Own:
    """A result that cannot be encoded."""


async def outcome(coming: Awaitable[Any]) -> Any:
    """Return a result, or the exception that came instead."""
    return (await asyncio.gather(coming, return_exceptions=True))[0]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.001)


class Gate:
    """A handler at ``/gate`` that holds the GPU thread until it is let go."""

    def __init__(self, app: Potassium) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.saw: list[bool] = []
        app.handler("/gate")(self._hold)

    def _hold(self, cache: dict[str, Any], request: Request) -> None:
        self.begun.release()
        assert self.go.wait(10)
        self.saw.append(request.cancelled)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


def held(app: Potassium) -> tuple[Gate, Callable[..., asyncio.Task[Any]]]:
    """Return a gate, and a function that makes a call in a task."""

    def start(path: str, item: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.create_task(app.call(path, item, **options))

    return Gate(app), start
