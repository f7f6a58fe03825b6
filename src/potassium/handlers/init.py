"""Loading the model: ``@app.init``."""

import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from potassium.engine import Job, place_below
from potassium.errors import UsageError
from potassium.handlers.cache import Cache
from potassium.handlers.device_parameter import device_parameter
from potassium.handlers.functions import reads
from potassium.handlers.handler import Handler
from potassium.handlers.in_process import ON_THREAD

__all__ = ["Init", "Snapshot"]

logger = logging.getLogger("potassium")


class Snapshot(Protocol):
    """What an earlier run of the function has loaded, if it was kept."""

    def restore(self, init: "Init") -> dict[str, Any] | None:
        """Return the cache as the function left it; None if the function has to run.

        Called on the thread of the model.
        """

    def loaded(self, init: "Init") -> None:
        """Note that the function has run, on the same thread, and the cache is as it leaves it."""


class Init:
    """Puts into the cache what the app's ``init`` function returns, if there is one.

    The function runs, unless a snapshot has what it returned before.

    Args:
        cache: what handlers get.
        set_cache: called to put something into ``cache``; an app may override it.
        handlers: those that get the cache, by path, once the app starts.
        snapshot: asked before the function is run.

    Attributes:
        function: what loads the model; None if there is nothing to load.
        restored: what completes the cache, after the function and after a snapshot; None for
            nothing.
        snapshot: asked before the function is run.
        device: what the function is told if it has a parameter for that. None is for the only
            process: its default, or else the device that the process sees.

    """

    def __init__(
        self,
        cache: Cache,
        set_cache: Callable[[dict[str, Any]], object],
        handlers: Mapping[str, Handler],
        snapshot: Snapshot,
    ) -> None:
        self.snapshot = snapshot
        self._cache = cache
        self._handlers = handlers
        self._set_cache = set_cache
        self.function: Callable[..., Any] | None = None
        self.restored: Callable[[dict[str, Any]], Any] | None = None
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

    def register_restored(self, function: Callable[[dict[str, Any]], Any]) -> None:
        """Complete the cache with ``function``, which gets it, and may return more for it.

        Raises:
            UsageError: there is such a function already, or ``function`` is async or does not take
                the cache alone.

        """
        if self.restored is not None:
            raise UsageError("An app has only one @app.restored; merge the two functions into one.")
        if inspect.iscoroutinefunction(function):
            raise UsageError("It runs on the GPU thread: write def, not async def.")
        try:
            inspect.signature(function).bind({})
        except TypeError:
            raise UsageError(
                "@app.restored takes a function of the cache: write def restored(cache)."
            ) from None
        self.restored = function

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
        ON_THREAD.set(job)
        if self.function is not None:
            self._load(self.function)
        if self.restored is not None:
            self._complete(self.restored)

    def _load(self, function: Callable[..., Any]) -> None:
        kept = self.snapshot.restore(self)
        if kept is not None:
            self._set_cache(kept)
            return
        before = self._cache.contents
        arguments, named = self._arguments()
        contents = self.run_own(function, *arguments, **named)
        if contents is not None:
            self._set_cache(contents)
        elif self._cache.contents is before and not before and self.restored is None:
            self._tell_empty()
        self.snapshot.loaded(self)

    def _complete(self, function: Callable[[dict[str, Any]], Any]) -> None:
        more = self.run_own(function, self._cache.contents)
        if isinstance(more, dict):
            self._set_cache({**self._cache.contents, **more})
        elif more is not None:
            raise TypeError(f"@app.restored returns a dict or None, not a {type(more).__name__}.")

    def run_own(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run a function of the app's, so that ``place`` knows."""
        self._thread = threading.get_ident()
        try:
            return function(*arguments, **named)
        finally:
            self._thread = None

    def place(self) -> str | None:
        """Return which line of the app's is running now, from any thread; None if none is."""
        return None if self._thread is None else place_below(self._thread, Init.run_own.__code__)

    def _arguments(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return what the function is called with: its device, or nothing."""
        parameter, device = self._parameter, self.told()
        if parameter is None or device is None:
            return (), {}
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return (device,), {}
        return (), {parameter.name: device}

    def told(self) -> str | None:
        """Return the device that the function is told; None if it is told none."""
        parameter = self._parameter
        if parameter is None:
            return None
        if self.device is not None:
            return self.device
        if parameter.default is not parameter.empty:
            return None
        from potassium.accelerators.visible import own_device  # noqa: PLC0415 - where asked for

        return own_device()

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
