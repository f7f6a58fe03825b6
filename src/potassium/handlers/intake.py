"""Binds requests to arguments off the event loop: large ones, and those with files."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from potassium.errors import Draining
from potassium.handlers.arguments import Binding
from potassium.http.message import Message

__all__ = ["Intake"]

DECODERS = min(8, max(2, os.cpu_count() or 1))  # threads


class Intake:
    """Binds what takes a while off the event loop, which goes on meanwhile.

    Parsers hold the GIL: on two threads they would keep the loop waiting for twice as long, and
    finish no sooner. So large bodies are bound one at a time. Decoders of files release it, and
    several run at once.
    """

    def __init__(self) -> None:
        self._parsing = _Line(1, "potassium-intake")
        self._decoding = _Line(DECODERS, "potassium-files")

    async def argument(self, bind: Binding, message: Message) -> Any:
        """Return the argument for a request whose body is large, or has files in it.

        If this is cancelled before its turn, nothing is bound, and nothing of the request is kept.

        Raises:
            PotassiumError: whatever ``bind`` raises; ``Draining`` if it was closed meanwhile.

        """
        line = self._decoding if bind.decodes_files else self._parsing
        return await line.argument(bind, message)

    def close(self) -> None:
        """End the threads once they have bound what they were given."""
        self._parsing.close()
        self._decoding.close()


class _Line:
    """Some threads, and the calls that wait for their turn on one of them."""

    def __init__(self, threads: int, name: str) -> None:
        self._size = threads
        self._name = name
        self._threads: ThreadPoolExecutor | None = None  # none until they are needed
        self._turns = asyncio.Semaphore()

    async def argument(self, bind: Binding, message: Message) -> Any:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._size, self._name)
            self._turns = asyncio.Semaphore(self._size)  # of this event loop
        turns, threads = self._turns, self._threads
        await turns.acquire()  # not in the threads' inbox, where cancelled calls stay
        if threads is not self._threads:
            turns.release()
            raise Draining("The server is stopping.")
        run = copy_context().run
        bound = asyncio.get_running_loop().run_in_executor(threads, run, bind, message)
        bound.add_done_callback(lambda done: _end(turns, done))
        try:
            return await asyncio.shield(bound)
        finally:
            del bound  # an exception of it refers to this frame

    def close(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)


def _end(turns: asyncio.Semaphore, done: "asyncio.Future[Any]") -> None:
    turns.release()
    if not done.cancelled():
        done.exception()  # nobody may be left who would hear of it, which is no mistake
