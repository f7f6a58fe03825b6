"""Noticing that a client has left while its call waits or runs."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Receive

from potassium.engine import Job

__all__ = ["Disconnects"]

# Calls that end sooner than this are not watched, those that last twice as long are. Most of the
# cost of watching is a task, and nobody gains from calling off what is about to end.
PATIENCE = 0.005  # seconds


class Disconnects:
    """Watches the connections of calls that take their time.

    A server does not cancel a request whose client has left; its ASGI ``receive`` tells. A call
    is noted when it is admitted, and one timer for all looks every few milliseconds which ones
    are still open. Belongs to one event loop.
    """

    def __init__(self, call_off: Callable[[Job], None]) -> None:
        """Call ``call_off`` with each job whose client left."""
        self._call_off = call_off
        self._young: list[tuple[Job, Receive]] = []  # noted since the last look
        self._old: list[tuple[Job, Receive]] = []  # noted before it
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def note(self, job: Job, receive: Receive) -> None:
        """Watch ``receive``, whose request is complete, for as long as ``job`` is not settled."""
        self._young.append((job, receive))
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._look)

    @contextmanager
    def watching(self, job: Job, receive: Receive) -> Iterator[None]:
        """Watch the connection of a job that streams, for as long as the context lasts."""
        task = asyncio.ensure_future(self._until_disconnect(job, receive))
        try:
            yield
        finally:
            task.cancel()

    def close(self) -> None:
        """Note nothing any more; those who are being watched are so until they are settled."""
        self._young, self._old = [], []
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        for job, receive in self._old:
            if not job.future.done():
                self._watch(job, receive)
        self._old, self._young = self._young, []
        self._timer = self._loop.call_later(PATIENCE, self._look) if self._old else None

    def _watch(self, job: Job, receive: Receive) -> None:
        """Watch in a task that ends with the job; the job's future keeps it from being lost."""
        task = asyncio.ensure_future(self._until_disconnect(job, receive))
        job.future.add_done_callback(lambda _: task.cancel())

    async def _until_disconnect(self, job: Job, receive: Receive) -> None:
        # Anything else comes from a receive() that tells nothing: asked again, it might never wait.
        if (await receive())["type"] == "http.disconnect" and not job.is_over:
            self._call_off(job)
