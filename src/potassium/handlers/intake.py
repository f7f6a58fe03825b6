"""Binds requests to arguments: large ones on a thread of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from potassium.errors import Draining
from potassium.handlers.arguments import Binding
from potassium.http.message import Message
from potassium.http.spooled import SpooledBody

__all__ = ["Intake"]

P = TypeVar("P")
T = TypeVar("T")


class Intake:
    """Binds large bodies one at a time, so that the event loop goes on meanwhile.

    Parsers hold the GIL. On two threads they would keep the loop waiting for twice as long, and
    finish no sooner.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None  # none until it is needed
        self._turn = asyncio.Semaphore()

    async def argument(self, bind: Binding, message: Message) -> Any:
        """Return the argument for a request whose body is large.

        If this is cancelled before its turn, nothing is bound, and nothing of the request is kept.

        Raises:
            PotassiumError: whatever ``bind`` raises; ``Draining`` if it was closed meanwhile.

        """
        return await self._run(bind, message)

    async def read(self, body: SpooledBody) -> bytes:
        """Return a body on disk, for handlers that need it in memory.

        Raises:
            Draining: the thread was closed meanwhile.

        """
        return await self._run(SpooledBody.read, body)

    async def _run(self, work: Callable[[P], T], given: P) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "potassium-intake")
            self._turn = asyncio.Semaphore()  # of this event loop
        turn, thread = self._turn, self._thread
        await turn.acquire()  # not in the thread's inbox, where cancelled calls stay
        if thread is not self._thread:
            turn.release()
            raise Draining("The server is stopping.")
        run = copy_context().run
        bound = asyncio.get_running_loop().run_in_executor(thread, run, work, given)
        bound.add_done_callback(lambda _: turn.release())
        try:
            return await asyncio.shield(bound)
        finally:
            del bound  # an exception of it refers to this frame

    def close(self) -> None:
        """End the thread once it has bound what it was given."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)
