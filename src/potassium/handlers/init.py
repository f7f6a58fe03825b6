"""Loading the model: ``@app.init``."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

from potassium.errors import UsageError
from potassium.handlers.cache import Cache

__all__ = ["Init"]

logger = logging.getLogger("potassium")


class Init:
    """The app's ``init`` function, if it has one, and where what it returns goes."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._function: Callable[[], Any] | None = None

    def register(self, function: Callable[[], Any]) -> None:
        """Run ``function`` at the start.

        Raises:
            UsageError: there is one already, or it cannot be called without arguments.

        """
        if self._function is not None:
            raise UsageError("There is an @app.init already; an app has one. Put both into one.")
        if inspect.iscoroutinefunction(function):
            raise UsageError("init runs on the GPU thread: write def, not async def.")
        try:
            inspect.signature(function).bind()
        except TypeError:
            raise UsageError(
                "init takes no arguments: def init() -> dict, returning the cache."
            ) from None
        self._function = function

    def run(self, _: object = None) -> None:
        """Load the model, on the thread that this is called on.

        Raises:
            TypeError: the function returned something other than a dict.
            BaseException: whatever it raised.

        """
        if self._function is None:
            return
        before = self._cache.contents
        contents = self._function()
        if contents is not None:
            self._cache.replace(contents)
        elif self._cache.contents is before and not before:
            # It may have loaded globals, so no warning.
            logger.info("init returned nothing and set no cache: handlers get an empty dict")
