"""Periodic work on jobs: expiry, deletion, and what servers that died have left."""

import asyncio
import logging
from collections.abc import Callable

from potassium.errors import StoreFailed
from potassium.jobs.runner import Runner
from potassium.jobs.settlement import Settlement
from potassium.jobs.store import JobStore

__all__ = ["Sweeper"]

PAUSE = 1.0  # seconds between two sweeps
LONGEST_LATENESS = 60.0  # seconds by which a deletion may be late; at most a tenth of keep_for
AT_ONCE = 500  # jobs; so that no other call waits long behind a sweep

logger = logging.getLogger("potassium.jobs")


class Sweeper:
    """Expires jobs that have waited too long, deletes old ones, and takes up those left behind.

    Args:
        keep_for: seconds after its end until a job is deleted.
        clock: returns seconds; that of the store.

    """

    def __init__(
        self,
        store: JobStore,
        runner: Runner,
        settlement: Settlement,
        *,
        keep_for: float,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._runner = runner
        self._settlement = settlement
        self._keep_for = keep_for
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._next_deletion = 0.0

    def start(self) -> None:
        """Begin to sweep."""
        self._task = asyncio.create_task(self._sweep_on(), name="potassium-job-sweeper")

    async def close(self) -> None:
        """Stop sweeping."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _sweep_on(self) -> None:
        has_failed = False
        while True:
            try:
                await self.sweep()
                has_failed = False
            except StoreFailed as error:
                if not has_failed:  # the store may fail for hours
                    logger.error("background jobs cannot be swept: %s", error.detail)  # noqa: TRY400
                has_failed = True
            except Exception:  # whatever it is, the next sweep may succeed
                logger.exception("background jobs cannot be swept")
            await asyncio.sleep(PAUSE)

    async def sweep(self) -> None:
        """Do what is due now.

        Raises:
            StoreFailed: the store cannot be read or written.

        """
        await self._runner.take_up()
        now = self._clock()
        for job in await self._store.overdue(now=now, limit=AT_ONCE):
            await self._settlement.expire(job)
        if now >= self._next_deletion:
            before = now - self._keep_for
            while await self._store.delete_ended(before=before, limit=AT_ONCE):
                pass
            self._next_deletion = now + min(LONGEST_LATENESS, self._keep_for / 10)
        await self._store.upkeep()
