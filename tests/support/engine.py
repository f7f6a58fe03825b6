"""A running engine, and operations that a test can hold."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from potassium.engine import Engine, Lifecycle, Operation

NOTHING = Operation("init", lambda _: None)


@asynccontextmanager
async def running(
    *operations: Operation, queue_size: int = 256, init: Operation = NOTHING
) -> AsyncIterator[Engine]:
    engine = Engine(operations, queue_size=queue_size, lifecycle=Lifecycle())
    await engine.start(init)
    try:
        yield engine
    finally:
        await engine.stop()


class Gate:
    """An operation that says when it has begun, and ends when it is let go."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.operation = Operation("gate", self._run)

    def _run(self, argument: Any) -> Any:
        self.ran.append(argument)
        self.begun.release()
        assert self.go.acquire(timeout=10)
        return argument

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.begun.acquire, timeout=10)

    def open(self, times: int = 1) -> None:
        self.go.release(times)
