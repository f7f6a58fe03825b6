"""One version of an app, from its start to its stop."""

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from potassium.serving.composition import parts_of

if TYPE_CHECKING:
    from potassium.app import Potassium
    from potassium.serving.runtime import Runtime

__all__ = ["Generation"]

logger = logging.getLogger("potassium.reload")


class Generation:
    """One version of an app: starts it, serves it, and stops it when the next one takes over.

    A task of its own enters and leaves the app's lifespan. Belongs to the event loop.

    Attributes:
        app: the app.
        has_started: whether it was ready at some time.

    """

    def __init__(self, app: "Potassium") -> None:
        self.app = app
        self.has_started = False
        self._requests = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def runtime(self) -> "Runtime":
        """What starts and stops the app."""
        return parts_of(self.app).runtime

    async def begin(self) -> "asyncio.Future[None]":
        """Begin to start the app; return what is done once it is ready, or raises why not.

        From now on it may be called: calls wait until it is ready.
        """
        ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(ready), name="potassium-generation")
        await asyncio.sleep(0)  # it enters the lifespan, or fails
        return ready

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        self._requests += 1
        self._quiet.clear()
        try:
            await self.app(scope, receive, send)
        finally:
            self._requests -= 1
            if not self._requests:
                self._quiet.set()

    async def settle(self, within: float) -> None:
        """Wait until no request is being served, at most ``within`` seconds.

        One whose body is still on its way would be refused after that.
        """
        try:
            async with asyncio.timeout(within):
                await self._quiet.wait()
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """Let the calls that it has admitted end, at most for the grace period, and stop it."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait({self._task})
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                logger.error("the old version of the app did not stop well", exc_info=error)

    def abandon(self) -> None:
        """Stop it without waiting, even if it is still loading its model."""
        if self._task is not None:
            self._task.cancel()

    async def _live(self, ready: "asyncio.Future[None]") -> None:
        try:
            async with self.app.lifespan():
                self.has_started = True
                if not ready.done():
                    ready.set_result(None)
                await self._stop.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
