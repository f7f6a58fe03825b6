"""The garbage collector of a process that serves, while the app starts."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["COLLECTOR", "Collector"]

# An interval between collections that no start reaches, and that nobody else sets: so what the app
# sets meanwhile is told apart from it.
NEVER = 2_000_000_011  # objects

# What the start has made is traversed once, when nobody waits: that takes a tenth of a second for
# the modules of a large library.
QUIET = 1.0  # seconds from readiness until it may be
LATEST = 5  # times as long, after which it is traversed even if somebody waits


class Collector:
    """Keeps the garbage collector from running while an app is imported and its model is loaded.

    Nearly everything that is made then stays, so collections find nothing, and traverse more each
    time. What is changed is their interval: ``gc.isenabled()`` tells what the app has chosen, and
    what it chooses meanwhile with ``gc.enable``, ``gc.disable`` and ``gc.set_threshold`` holds.
    """

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None  # the intervals; None unless paused

    @property
    def is_paused(self) -> bool:
        """Whether it is kept from running, and nobody has set another interval since."""
        return self._before is not None and gc.get_threshold()[0] == NEVER

    def pause(self) -> None:
        """Keep it from running; does nothing if it is kept from that already."""
        if not self.is_paused:
            self._before = gc.get_threshold()
            gc.set_threshold(NEVER, *self._before[1:])

    def resume(self) -> None:
        """Put its intervals back as they were, unless somebody has set others."""
        if self.is_paused and self._before is not None:
            gc.set_threshold(*self._before)
        self._before = None

    def spare_modules(self) -> None:
        """Traverse the modules that are loaded, which stay, now and then never again.

        To be called before the model is loaded, which may be replaced and must then be freed.
        """
        gc.collect()
        gc.freeze()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep it from running until the context exits, or until ``resume`` is called."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def resume_when(self, is_idle: Callable[[], bool]) -> None:
        """Collect and resume once the app, which is ready, has nothing to do; soon in any case.

        The first collection traverses all that the start has made. Otherwise a call would wait for
        it. Must be called on the event loop.
        """
        import asyncio  # noqa: PLC0415 - the help of a command does without

        loop = asyncio.get_running_loop()

        def look(left: int) -> None:
            if left and not is_idle():
                loop.call_later(QUIET, look, left - 1)
                return
            if self.is_paused and gc.isenabled():
                gc.collect()
            self.resume()

        loop.call_later(QUIET, look, LATEST - 1)


# The process has one. Whoever owns the process pauses it: nobody does under another server.
COLLECTOR = Collector()
