"""Runs handlers before they are served: no caller waits for what only the first run does."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from potassium.engine import Failure
from potassium.handlers.handler import Handler
from potassium.handlers.warm_up import Rehearse, bind_items, items_of, warm_up

__all__ = ["WarmUps", "has_warm_up"]

logger = logging.getLogger("potassium")


class WarmUps:
    """The handlers of an app that have ``warmup=``.

    Args:
        handlers: those that run in this process.

    Attributes:
        current: the path of the handler that is being run; None if none is.
        seconds: how long each took, by its path.

    """

    def __init__(
        self, handlers: Iterable[Handler], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._handlers = [one for one in handlers if has_warm_up(one)]
        self._clock = clock
        self.current: str | None = None
        self.seconds: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._handlers)

    def check(self) -> None:
        """Bind the items that are given as such, before the model is loaded in vain.

        Raises:
            UsageError: a handler does not take one of its items.

        """
        for handler in self._handlers:
            if not callable(handler.options.get("warmup")):
                bind_items(handler, items_of(handler))

    async def run(self, rehearse: Rehearse) -> Failure | None:
        """Run each handler; return what the first has failed with, or None."""
        for handler in self._handlers:
            began, self.current = self._clock(), handler.path
            logger.debug("warming up %s", handler.path)
            try:
                items = await _items_of(handler)
                await warm_up(handler, items, rehearse)
            except BaseException as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                    raise  # the start is called off; a handler may raise the same by itself
                error.add_note(
                    f"This is the warm-up of POST {handler.path}: it was run with its warmup= "
                    "before it is served. What fails here would fail for callers, too."
                )
                return Failure(error)
            finally:
                self.current = None
            self.seconds[handler.path] = self._clock() - began
        return None


def has_warm_up(handler: Handler) -> bool:
    """Return whether a handler is to be run before it is served."""
    return handler.options.get("warmup") is not None


async def _items_of(handler: Handler) -> list[Any]:
    if callable(handler.options.get("warmup")):  # it may take long, and others may be served
        return await asyncio.to_thread(items_of, handler)
    return items_of(handler)
