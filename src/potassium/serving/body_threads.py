"""The threads that decode bodies and write them to disk."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf

from potassium.errors import DiskFailed

__all__ = ["BodyThreads"]

THREADS = 4
LOG_EVERY = 60.0  # seconds; on a full disk everything fails

logger = logging.getLogger("potassium")


class BodyThreads:
    """A few threads, started when they are first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._logged_at = -inf

    def start(self, work: Callable[[], object]) -> "asyncio.Future[object]":
        """Run ``work`` on one of the threads."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, "potassium-bodies")
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def do(self, work: Callable[[], object]) -> None:
        """Run ``work`` on one of the threads, or at once if there are none."""
        if self._pool is None:
            work()
        else:
            self._pool.submit(work)

    def failed(self, error: OSError) -> DiskFailed:
        """Return the error for clients whose body the disk does not take; log it now and then."""
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY:
            self._logged_at = now
            logger.error("large bodies cannot be written to disk: %s", error)
        return DiskFailed(retry_after=1)

    def close(self) -> None:
        """End the threads once they have done what they were given."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)
