"""What has to happen to jobs because time has passed."""

import asyncio
import logging
import time
from collections.abc import Callable

from potassium.errors import StoreFailed
from potassium.jobs.runner import Runner
from potassium.jobs.settlement import Settlement
from potassium.jobs.store import JobStore

__all__ = ["Sweeper"]

PAUSE = 1.0  # seconds between two looks
LONGEST_LATENESS = 60.0  # seconds that an old job may be deleted late; a tenth of its time at most
AT_ONCE = 500  # jobs; so that nobody waits for long behind a sweep

logger = logging.getLogger("potassium.jobs")


class Sweeper:
    """Ends jobs that have waited too long, deletes old ones, and keeps claims alive."""

    def __init__(
        self,
        store: JobStore,
        runner: Runner,
        settlement: Settlement,
        *,
        keep_for: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare to sweep ``store``; jobs are deleted ``keep_for`` seconds after their end."""
        self._store = store
        self._runner = runner
        self._settlement = settlement
        self._keep_for = keep_for
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._next_deletion = 0.0

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._sweep_on(), name="potassium-job-sweeper")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _sweep_on(self) -> None:
        while True:
            try:
                await self.sweep()
            except StoreFailed as error:
                logger.error("background jobs cannot be swept: %s", error.detail)  # noqa: TRY400
            except Exception:  # whatever it is, the next sweep may do better
                logger.exception("background jobs cannot be swept")
            await asyncio.sleep(PAUSE)

    async def sweep(self) -> None:
        """Do what is due.

        Raises:
            StoreFailed: the store cannot be read or written.

        """
        now = self._clock()
        running = self._runner.running
        if running:
            for job_id in await self._store.keep(running):
                self._runner.cancel(job_id)  # somebody else has the claim by now
        for job in await self._store.overdue(now=now, limit=AT_ONCE):
            await self._settlement.expire(job)
        if now >= self._next_deletion:
            before = now - self._keep_for
            deleted = await self._store.delete_ended(before=before, limit=AT_ONCE)
            late = min(LONGEST_LATENESS, self._keep_for / 10)
            self._next_deletion = now + (late if deleted < AT_ONCE else 0)
