"""Detecting a thread that is stuck for good."""

import asyncio
import time
from collections.abc import Callable

from potassium.engine.job import Job
from potassium.engine.side_pool import SidePool
from potassium.engine.worker import Worker

__all__ = ["HangWatch"]


class HangWatch:
    """Checks at intervals whether a call has not returned for too long.

    Only the time in one step counts: a stream may go on for hours. Belongs to the event loop.

    Args:
        report: called at most once, with a description of the call that is stuck.

    """

    def __init__(
        self,
        worker: Worker,
        pool: SidePool,
        hang_timeout: float,
        report: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._pool = pool
        self._hang_timeout = hang_timeout
        self._report = report
        self._clock = clock
        self._look()

    def close(self) -> None:
        """Stop checking."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._clock()
        for at in (self._at_worker(), self._pool.oldest):
            if at is not None and now - at[1] > self._hang_timeout:
                name = at[0].operation.name
                self._report(f"{name} has not returned for {self._hang_timeout:g} s")
                return
        after = self._hang_timeout / 10
        self._timer = asyncio.get_running_loop().call_later(after, self._look)

    def _at_worker(self) -> tuple[Job, float] | None:
        job, since = self._worker.current, self._worker.since
        if job is None:
            return None
        if job.stream is not None and job.stream.is_waiting:
            return None  # for its reader, which has a time limit of its own
        return job, since
