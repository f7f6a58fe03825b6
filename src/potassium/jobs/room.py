"""How much a store of jobs takes, in number and in bytes."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from potassium.config import Jobs
from potassium.errors import StoreFull
from potassium.jobs.model import Event, NewJob, StoredJob

__all__ = [
    "EVENT_OVERHEAD",
    "FULL_PAUSE",
    "OVERHEAD",
    "Room",
    "event_bytes",
    "input_bytes",
    "job_bytes",
]

# What a store needs for a job or a delivery beyond its body, and for an event beyond its data.
OVERHEAD = 1024  # bytes
EVENT_OVERHEAD = 64  # bytes

MOST_COMING = 64 * 1024 * 1024  # bytes of jobs in memory that wait to be stored

# Jobs that wait may begin until the store holds this many times ``max_bytes``: their results may be
# larger than their inputs, and must not fill the disk either.
BRIM = 2

FULL_PAUSE = 1.0  # seconds until the next look whether jobs may begin

RETRY_COMING = 1  # seconds after which a client may try again
RETRY_STORED = 10  # seconds

LOG_EVERY = 60.0  # seconds

logger = logging.getLogger("potassium.jobs")


class Room:
    """Counts what a store holds and what is about to enter it, and refuses what is too much.

    What belongs to a job that was accepted is never refused: its events, its result, its end.

    Attributes:
        queued: how many queued jobs are stored.
        bytes: how much all that is stored takes, as its store counts it.

    """

    def __init__(self, options: Jobs) -> None:
        self.queued = 0
        self.bytes = 0
        self._max_queued = options.max_queued
        self._max_bytes = options.max_bytes
        self._coming = 0
        self._coming_bytes = 0
        self._logged_at: float | None = None

    @contextmanager
    def entering(self, size: int) -> Iterator[None]:
        """Count a job of ``size`` bytes while it is being stored.

        Raises:
            StoreFull: there is no room for it.

        """
        self.check(size)
        self._coming += 1
        self._coming_bytes += size
        try:
            yield
        finally:
            self._coming -= 1
            self._coming_bytes -= size

    def check(self, size: int, *, jobs: int = 1) -> None:
        """Check that there is room for that many more queued jobs, and for ``size`` bytes.

        Raises:
            StoreFull: there is not.

        """
        if jobs and self.queued + self._coming + jobs > self._max_queued:
            raise self._full(f"{self._max_queued} jobs are queued (max_queued)")
        if self.bytes + self._coming_bytes + size > self._max_bytes:
            raise self._full(f"it may take {self._max_bytes} bytes (max_bytes)")
        if self._coming and self._coming_bytes + size > MOST_COMING:
            raise StoreFull("Too many jobs are being stored at the moment.", RETRY_COMING)

    def check_begin(self) -> None:
        """Check that there is room for the results of more jobs.

        Raises:
            StoreFull: there is not.

        """
        if self.bytes >= BRIM * self._max_bytes:
            raise self._full(
                f"it takes {self.bytes} bytes; no job begins until ended ones are deleted"
            )

    def may_begin(self) -> bool:
        """Return whether there is room for the results of more jobs."""
        try:
            self.check_begin()
        except StoreFull:
            return False
        return True

    def _full(self, why: str) -> StoreFull:
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY:
            self._logged_at = now
            logger.warning("the store of background jobs is full: %s", why)
        return StoreFull("The server keeps no more background jobs at the moment.", RETRY_STORED)


def input_bytes(job: NewJob) -> int:
    """Return what the input of a job takes in a store."""
    headers = sum(len(name) + len(value) for name, value in job.headers)
    return len(job.body) + len(job.request_line) + headers


def job_bytes(job: StoredJob) -> int:
    """Return what a job takes in a store, without its events."""
    return OVERHEAD + input_bytes(job) + len(job.output or b"") + len(job.error or b"")


def event_bytes(events: Iterable[Event]) -> int:
    """Return what events take in a store."""
    return sum(len(event.data) + EVENT_OVERHEAD for event in events)
