"""A running engine, and operations that a test can hold."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from potassium import Limits
from potassium.engine import Engine, GpuThread, Lifecycle, Observer, Operation
from support.operations import operation_on

NOTHING = operation_on("init", lambda _: None)


@asynccontextmanager
async def running(
    *operations: Operation,
    init: Operation = NOTHING,
    is_fatal: Callable[[BaseException], bool] = lambda _: False,
    observer: Observer | None = None,
    **limits: Any,
) -> AsyncIterator[Engine]:
    engine = Engine(
        operations,
        limits=Limits(**limits),
        lifecycle=Lifecycle(),
        new_runner=partial(GpuThread, is_fatal=is_fatal),
        observer=observer,
    )
    await engine.start(init)
    try:
        yield engine
    finally:
        await engine.stop()


def thread_of(engine: Engine) -> GpuThread:
    """Return what runs the model: the thread of this process."""
    assert isinstance(engine.runner, GpuThread)
    return engine.runner


class Gate:
    """An operation that signals when it has begun, and ends once the gate is opened."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.operation = operation_on("gate", self.run)

    def run(self, argument: Any) -> Any:
        self.ran.append(argument)
        self.begun.release()
        assert self.go.acquire(timeout=10)
        return argument

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.begun.acquire, timeout=10)

    def open(self, times: int = 1) -> None:
        self.go.release(times)
