"""Waiting for something to happen to a job."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Change", "Watch"]


class Change:
    """Signals to one watcher that something has happened since its last ``wait``."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    def happen(self) -> None:
        """Wake the watcher."""
        self._happened.set()

    async def wait(self, seconds: float | None) -> bool:
        """Return True once something happens, or False if nothing does for ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        except TimeoutError:
            return False
        self._happened.clear()
        return True


class Watch:
    """The watchers of each job. Belongs to the event loop."""

    def __init__(self) -> None:
        self._changes: dict[str, set[Change]] = {}

    def tell(self, job_id: str) -> None:
        """Wake the watchers of a job."""
        for change in self._changes.get(job_id, ()):
            change.happen()

    def tell_all(self) -> None:
        """Wake all watchers."""
        for job_id in list(self._changes):
            self.tell(job_id)

    @contextmanager
    def over(self, job_id: str) -> Iterator[Change]:
        """Watch a job: the next ``wait`` notices anything that happens to it from now on."""
        change = Change()
        self._changes.setdefault(job_id, set()).add(change)
        try:
            yield change
        finally:
            watchers = self._changes[job_id]
            watchers.discard(change)
            if not watchers:
                del self._changes[job_id]
