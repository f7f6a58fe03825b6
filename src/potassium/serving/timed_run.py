"""A call whose timeout counts from its beginning, as that of a background job does."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

__all__ = ["TimedRun"]


class TimedRun:
    """Tells when a call begins, wherever it runs; it belongs to no job, so its id is empty.

    Args:
        on_begin: called on the event loop when the handler has begun, once.

    """

    id = ""

    def __init__(self, on_begin: Callable[[], object]) -> None:
        self._on_begin: Callable[[], object] | None = on_begin
        self._loop = asyncio.get_running_loop()

    def began(self) -> None:
        """Report that the handler has begun; later calls do nothing."""
        with suppress(RuntimeError):  # the loop is closed, and nobody is left to hear it
            self._loop.call_soon_threadsafe(self._begin)

    def progress(self, share: float | None, message: str | None) -> None:
        """Do nothing: there is nobody who sees it."""

    def _begin(self) -> None:
        on_begin, self._on_begin = self._on_begin, None
        if on_begin is not None:
            on_begin()
