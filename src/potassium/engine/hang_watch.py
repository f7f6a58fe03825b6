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

    Only the time in one step counts: a stream may go on for hours. Of time without checks, because
    the whole process was stopped or the machine slept, only two intervals count. Belongs to the
    event loop.

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
        self._interval = hang_timeout / 10
        self._looked_at = clock()
        self._stopped = 0.0  # seconds that do not count
        self._begun: dict[Job, tuple[float, float]] = {}  # since when, and ``_stopped`` by then
        self._look()

    def close(self) -> None:
        """Stop checking."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._clock()
        before = self._stopped
        self._stopped += max(now - self._looked_at - 2 * self._interval, 0.0)
        self._looked_at = now
        running = [at for at in (self._at_worker(), self._pool.oldest) if at is not None]
        begun, self._begun = self._begun, {}
        for job, since in running:
            seen = begun.get(job)
            stopped = seen[1] if seen is not None and seen[0] == since else before
            self._begun[job] = since, stopped
            if now - since - (self._stopped - stopped) > self._hang_timeout:
                name = job.operation.name
                self._report(f"{name} has not returned for {self._hang_timeout:g} s")
                return
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)

    def _at_worker(self) -> tuple[Job, float] | None:
        job, since = self._worker.current, self._worker.since
        if job is None:
            return None
        if job.stream is not None and job.stream.is_waiting:
            return None  # for its reader, which has a time limit of its own
        return job, since
