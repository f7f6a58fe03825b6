"""One thread on which the GPU work of one version of an app after the other is done."""

import asyncio
import contextvars
from collections.abc import Callable
from queue import SimpleQueue

from potassium.engine import new_thread

__all__ = ["ResidentThread"]

Work = tuple[contextvars.Context, Callable[[], None], asyncio.Future[None]]


class ResidentThread:
    """A thread that outlives what it runs: a model may depend on the thread that loaded it.

    The current device, autocast and many other settings of torch belong to a thread. Belongs to
    the event loop on which ``run`` is first called. If something does not return, what comes after
    it gets a new thread.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._host: asyncio.Task[None] | None = None
        self._running: asyncio.Future[None] | None = None

    async def run(self, function: Callable[[], None]) -> None:
        """Run ``function`` on the thread, in a copy of the current context; see ``Host``.

        If cancelled, the function is left to itself.
        """
        if self._host is None or (self._running is not None and not self._running.done()):
            self._begin()
        loop = asyncio.get_running_loop()
        self._running = done = loop.create_future()
        self._work.put((contextvars.copy_context(), function, done))
        await asyncio.shield(done)

    def close(self) -> None:
        """Let the thread end, once what it runs has returned."""
        self._work.put(None)

    def _begin(self) -> None:
        """Begin a new thread; the one before, if any, ends when it can."""
        self._work.put(None)
        work: SimpleQueue[Work | None] = SimpleQueue()
        self._work = work
        loop = asyncio.get_running_loop()

        def live() -> None:
            while (given := work.get()) is not None:
                context, function, done = given
                try:
                    context.run(function)
                    error = None
                except BaseException as raised:  # noqa: BLE001 - for whoever waits
                    error = raised
                del context, function, given
                loop.call_soon_threadsafe(_settle, done, error)
                del done, error

        async def host() -> None:
            try:
                await new_thread(live)
            finally:
                work.put(None)  # also if the event loop is being torn down

        self._host = loop.create_task(host(), name="potassium-resident")


def _settle(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
