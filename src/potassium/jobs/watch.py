"""Waiting for something to happen to a job."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Change", "Watch"]


class Change:
    """Tells one watcher that something has happened since it last asked."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._happened = asyncio.Event()

    def happen(self) -> None:
        """Let the watcher go on."""
        self._happened.set()

    async def wait(self, seconds: float | None) -> bool:
        """Return True once something happens, False where nothing has for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        except TimeoutError:
            return False
        self._happened.clear()
        return True


class Watch:
    """Who waits for which job. Belongs to the event loop."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._changes: dict[str, set[Change]] = {}

    def tell(self, job_id: str) -> None:
        """Let those who watch a job look again."""
        for change in self._changes.get(job_id, ()):
            change.happen()

    def tell_all(self) -> None:
        """Let everybody look again."""
        for job_id in list(self._changes):
            self.tell(job_id)

    @contextmanager
    def over(self, job_id: str) -> Iterator[Change]:
        """Watch a job: what happens to it from now on is noticed by the next ``wait``."""
        change = Change()
        self._changes.setdefault(job_id, set()).add(change)
        try:
            yield change
        finally:
            watchers = self._changes[job_id]
            watchers.discard(change)
            if not watchers:
                del self._changes[job_id]
