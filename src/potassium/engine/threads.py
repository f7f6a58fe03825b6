"""Threads that live as long as an engine, each hosted by a task."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import anyio
import anyio.to_thread

__all__ = ["Host", "Threads", "new_thread"]

Host = Callable[[Callable[[], None]], Awaitable[None]]  # runs a function on a thread to its end


async def new_thread(run: Callable[[], None]) -> None:
    """Run ``run`` on a thread of its own, of anyio's; if cancelled, leave it to itself."""
    await anyio.to_thread.run_sync(run, limiter=anyio.CapacityLimiter(1))


class Worker(Protocol):
    """What a thread does."""

    def run(self) -> None:
        """Work until it is stopped."""

    def stop(self) -> None:
        """Let ``run`` return; may be called on any thread."""


class Threads:
    """Starts threads and waits for them to end.

    They are worker threads of anyio, so that ``anyio.from_thread`` works in what they run. Belongs
    to the event loop.

    Args:
        tell_loop: schedules a callback on the loop, from any thread.
        begin: called on each thread before anything else.
        lost: called on the loop if a thread ends that was not to, with why: what it was given
            never comes back.

    Attributes:
        tell_loop: as it was given.

    """

    def __init__(
        self,
        tell_loop: Callable[..., None],
        begin: Callable[[], object],
        *,
        lost: Callable[[str], object],
    ) -> None:
        self.tell_loop = tell_loop
        self._begin = begin
        self._lost = lost
        self._may_end = False
        self._hosts: list[asyncio.Task[None]] = []
        self._left_behind = False  # a thread is in a call that does not return

    def __bool__(self) -> bool:
        """Return whether any was started."""
        return bool(self._hosts)

    def start(self, name: str, worker: Worker, host: Host = new_thread) -> asyncio.Task[None]:
        """Let a worker run on a thread, until it is stopped; return the task hosting it."""
        task = asyncio.create_task(self._run(worker, host), name=name)
        task.add_done_callback(self._note_end)
        self._hosts.append(task)
        return task

    async def wait(self, others: Iterable[asyncio.Task[None]], within: float | None) -> None:
        """Wait until the threads have ended and ``others`` are done, at most ``within`` seconds.

        A thread that has not ended by then is left behind; it ends when its call returns.
        """
        self._may_end = True
        await asyncio.wait({*self._hosts, *others}, timeout=within)
        for host in self._hosts:
            if not host.done():
                self._left_behind = True
                host.cancel()

    def _note_end(self, host: asyncio.Task[None]) -> None:
        if not self._may_end and not host.cancelled():
            self._lost(f"the thread {host.get_name()} has ended: {host.exception()!r}")

    async def _run(self, worker: Worker, host: Host) -> None:
        begun = False
        over = asyncio.Event()

        def live() -> None:
            nonlocal begun
            begun = True
            try:
                self._begin()
                worker.run()
            finally:
                self.tell_loop(over.set)

        try:
            await host(live)
        except asyncio.CancelledError:
            # The event loop is being torn down and cancels every task it finds; the thread is
            # still there, and ends when it has run what it was given.
            worker.stop()
            if begun and not self._left_behind:
                await over.wait()
            raise
