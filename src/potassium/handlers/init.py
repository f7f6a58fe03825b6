"""Loading the model: ``@app.init``."""

import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from potassium.engine import Job, place_below
from potassium.errors import UsageError
from potassium.handlers.cache import Cache
from potassium.handlers.functions import reads
from potassium.handlers.handler import Handler
from potassium.handlers.in_process import ON_THREAD

__all__ = ["Init"]

logger = logging.getLogger("potassium")


class Init:
    """Runs the app's ``init`` function, if it has one, and puts its result into the cache.

    Args:
        cache: what handlers get.
        set_cache: called to put something into ``cache``; an app may override it.
        handlers: those that get the cache, by path, once the app starts.

    """

    def __init__(
        self,
        cache: Cache,
        set_cache: Callable[[dict[str, Any]], object],
        handlers: Mapping[str, Handler],
    ) -> None:
        self._cache = cache
        self._handlers = handlers
        self._set_cache = set_cache
        self._function: Callable[[], Any] | None = None
        self._thread: int | None = None  # the one that runs it, while it does

    def register(self, function: Callable[[], Any]) -> None:
        """Run ``function`` when the app starts.

        Raises:
            UsageError: there is an ``init`` already, or ``function`` is async or cannot be called
                without arguments.

        """
        if self._function is not None:
            raise UsageError("An app has only one @app.init; merge the two functions into one.")
        if inspect.iscoroutinefunction(function):
            raise UsageError("init runs on the GPU thread: write def, not async def.")
        try:
            inspect.signature(function).bind()
        except TypeError:
            raise UsageError(
                "init takes no arguments: def init() -> dict, returning the cache."
            ) from None
        self._function = function

    def run(self, job: Job) -> None:
        """Load the model, on the calling thread, which runs ``job``.

        Raises:
            TypeError: the function returned something other than a dict or None.
            BaseException: whatever the function raised.

        """
        if self._function is None:
            return
        ON_THREAD.set(job)
        before = self._cache.contents
        self._thread = threading.get_ident()
        try:
            contents = self._function()
        finally:
            self._thread = None
        if contents is not None:
            self._set_cache(contents)
        elif self._cache.contents is before and not before:
            self._tell_empty()

    def place(self) -> str | None:
        """Return which line of the function is running now, from any thread; None if none is."""
        return None if self._thread is None else place_below(self._thread, Init.run.__code__)

    def _tell_empty(self) -> None:
        """Log that the cache is empty: as a warning, if a handler looks into it."""
        readers = [path for path, one in self._handlers.items() if reads(one.function, 0)]
        if readers:
            logger.warning(
                "init returned nothing and set no cache, but %s %s it: return a dict from init, "
                'such as {"model": model}, or call app.set_cache(...) in it',
                ", ".join(readers),
                "use" if len(readers) > 1 else "uses",
            )
        else:  # it may have loaded the model into globals
            logger.info("init returned nothing and set no cache: handlers get an empty dict")
