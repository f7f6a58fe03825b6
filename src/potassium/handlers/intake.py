"""Binds requests to arguments: large ones on a thread of its own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from potassium.handlers.arguments import Binding
from potassium.http.message import Message

__all__ = ["Intake"]


class Intake:
    """Binds large bodies one at a time, so that the event loop goes on meanwhile.

    Parsers hold the GIL. On two threads they would keep the loop waiting for twice as long, and
    finish no sooner.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None  # none until it is needed

    async def argument(self, bind: Binding, message: Message) -> Any:
        """Return the argument for a request whose body is large.

        If this is cancelled before its turn, nothing is bound.

        Raises:
            PotassiumError: whatever ``bind`` raises.

        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "potassium-intake")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, copy_context().run, bind, message)

    def close(self) -> None:
        """End the thread once it has bound what it was given."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)
