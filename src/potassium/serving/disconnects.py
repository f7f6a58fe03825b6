"""Notices that a client has disconnected while its call waits or runs."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context

from starlette.types import Receive

from potassium.engine import Job

__all__ = ["Disconnects"]

# Calls that end sooner than this are not watched; calls that last twice as long are. Most of the
# cost of watching is a task, and calling off a call that is about to end gains nothing.
PATIENCE = 0.005  # seconds


class Disconnects:
    """Watches the connections of calls that last more than a few milliseconds.

    A server does not cancel a request whose client has disconnected; only its ASGI ``receive``
    reports it. A call is noted when it is admitted, and a single timer looks every few
    milliseconds for those still open. ``call_off`` is called with each job whose client has
    disconnected. Belongs to one event loop.
    """

    def __init__(self, call_off: Callable[[Job], None]) -> None:
        self._call_off = call_off
        self._young: list[tuple[Job, Receive]] = []  # noted since the last look
        self._old: list[tuple[Job, Receive]] = []  # noted before it
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._context = Context()  # of the timer: that of no request

    def note(self, job: Job, receive: Receive) -> None:
        """Watch ``receive``, whose request is complete, until ``job`` is settled."""
        self._young.append((job, receive))
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._look, context=self._context)

    @contextmanager
    def watching(self, job: Job, receive: Receive) -> Iterator[None]:
        """Watch the connection of a job that streams, while the context is open."""
        task = asyncio.ensure_future(self._until_disconnect(job, receive))
        try:
            yield
        finally:
            task.cancel()

    def close(self) -> None:
        """Drop the noted calls; those being watched stay watched until they are settled."""
        self._young, self._old = [], []
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        for job, receive in self._old:
            if not job.future.done():
                self._watch(job, receive)
        self._old, self._young = self._young, []
        self._timer = (
            self._loop.call_later(PATIENCE, self._look, context=self._context)
            if self._old
            else None
        )

    def _watch(self, job: Job, receive: Receive) -> None:
        """Watch in a task that ends with the job; the job's future keeps a reference to it."""
        watching = self._until_disconnect(job, receive)
        # Middleware may have wrapped ``receive``, and may look for what it has set for the request.
        task = self._loop.create_task(watching, context=job.context.copy())
        job.future.add_done_callback(lambda _: task.cancel())

    async def _until_disconnect(self, job: Job, receive: Receive) -> None:
        # Anything else is from a receive() that reports nothing: called again, it might never wait.
        if (await receive())["type"] == "http.disconnect" and not job.is_over:
            self._call_off(job)
