"""Loading the model: ``@app.init``."""

import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from potassium.engine import Job, place_below
from potassium.errors import UsageError
from potassium.handlers.cache import Cache
from potassium.handlers.device_parameter import device_parameter
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

    Attributes:
        function: what loads the model; None if there is nothing to load.
        device: what the function is told if it has a parameter for that. None is for the only
            process: its default, or else the device that the process sees.

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
        self.function: Callable[..., Any] | None = None
        self.device: str | None = None
        self._parameter: inspect.Parameter | None = None  # the one for the device
        self._loaded: dict[str, Any] | None = None
        self._thread: int | None = None  # the one that runs it, while it does

    def register(self, function: Callable[..., Any]) -> None:
        """Run ``function`` when the app starts.

        Raises:
            UsageError: there is an ``init`` already, or ``function`` is async or requires another
                argument than its device.

        """
        if self.function is not None:
            raise UsageError("An app has only one @app.init; merge the two functions into one.")
        if inspect.iscoroutinefunction(function):
            raise UsageError("init runs on the GPU thread: write def, not async def.")
        self._parameter = device_parameter(function)
        self.function = function

    def keep(self, contents: dict[str, Any]) -> None:
        """Take ``contents`` as what the function has loaded, and do not run it."""
        self._loaded = contents

    def run(self, job: Job) -> None:
        """Load the model, on the calling thread, which runs ``job``.

        Raises:
            TypeError: the function returned something other than a dict or None.
            BaseException: whatever the function raised.

        """
        if self._loaded is not None:
            self._set_cache(self._loaded)
            return
        if self.function is None:
            return
        ON_THREAD.set(job)
        before = self._cache.contents
        arguments, named = self._arguments()
        self._thread = threading.get_ident()
        try:
            contents = self.function(*arguments, **named)
        finally:
            self._thread = None
        if contents is not None:
            self._set_cache(contents)
        elif self._cache.contents is before and not before:
            self._tell_empty()

    def place(self) -> str | None:
        """Return which line of the function is running now, from any thread; None if none is."""
        return None if self._thread is None else place_below(self._thread, Init.run.__code__)

    def _arguments(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return what the function is called with: its device, or nothing."""
        parameter, device = self._parameter, self.device
        if parameter is None or (device is None and parameter.default is not parameter.empty):
            return (), {}
        if device is None:
            from potassium.accelerators.visible import own_device  # noqa: PLC0415 - where asked for

            device = own_device()
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return (device,), {}
        return (), {parameter.name: device}

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
