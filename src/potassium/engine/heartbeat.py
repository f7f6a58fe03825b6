"""Whether the GPU thread, and the threads beside it, are idle, busy or stuck."""

import enum
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Protocol

from potassium.engine.job import Job

__all__ = ["Activity", "Heartbeat", "Pulse"]

# Where no ``hang_timeout`` says when a step is stuck, what its handler usually takes does.
USUAL = 10  # times the mean duration of a call
SHORTEST = 60.0  # seconds that any step may take
UNKNOWN = 600.0  # seconds that a step may take whose usual duration is not known


class Activity(enum.Enum):
    """What the threads that run handlers are doing.

    Attributes:
        IDLE: nothing; no call is under way on them.
        BUSY: they run calls, or load the model.
        STUCK: a step of a call has made no progress for too long, or the server has failed.

    """

    IDLE = "idle"
    BUSY = "busy"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the threads that run handlers are doing, and how long ago they got any further.

    Attributes:
        activity: idle, busy or stuck.
        last_progress_seconds: seconds for which the step that has been under way for the longest
            has made no progress; 0 while nothing is under way, since no progress is due then.

    """

    activity: Activity
    last_progress_seconds: float


class Working(Protocol):
    """What a GPU thread tells of itself; see ``Worker``."""

    @property
    def current(self) -> Job | None:
        """The job that it is running."""

    @property
    def since(self) -> float:
        """When it began to run that one, or to be idle."""

    @property
    def progressed_at(self) -> float:
        """When that one last told that it goes on."""

    @property
    def busy(self) -> float:
        """The seconds spent on the groups and steps that have ended."""

    @property
    def busy_since(self) -> float | None:
        """When the one began that has not ended; None if there is none."""

    @property
    def turns(self) -> Sized | int:
        """The streams that are about to make a step, or their number."""


class Pool(Protocol):
    """What the threads beside it tell of themselves; see ``SidePool``."""

    @property
    def oldest(self) -> tuple[Job, float] | None:
        """The job that a thread has been working on for the longest, and since when."""


class Pulse:
    """Computes the heartbeat of the GPU thread and the side pool, when somebody asks for it.

    A step of a call makes progress when it begins, with each chunk that it pushes, each item of a
    batch that is done and each progress that it reports. The time for which a handler waits for
    the reader of its stream, which has a time limit of its own, does not count. What runs on the
    event loop does not count either: it may wait for something else for hours. Belongs to the
    event loop.

    Args:
        hang_timeout: seconds without progress after which a step is stuck. If it is None, that is
            ten times as long as a call of its handler usually takes, but at least a minute, and
            ten minutes if that is not known.

    """

    def __init__(
        self,
        worker: Working,
        pool: Pool,
        hang_timeout: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._pool = pool
        self._hang_timeout = hang_timeout
        self._clock = clock
        self._busy = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether the GPU thread is busy right now."""
        return self._worker.busy_since is not None

    def busy_seconds(self) -> float:
        """Return for how many seconds the GPU thread was busy, what it does now included.

        The thread may end that at this very moment: then this one look may miss it, but what is
        returned never falls.
        """
        busy, since = self._worker.busy, self._worker.busy_since  # not the other way around
        if since is not None:
            busy += max(self._clock() - since, 0.0)
        self._busy = max(self._busy, busy)
        return self._busy

    def under_way(self) -> list[tuple[Job, float]]:
        """Return jobs that a thread works on, and when each last made progress.

        Those that wait for a reader are left out.
        """
        both = (self._at_worker(), self._pool.oldest)
        return [at for at in both if at is not None]

    def beat(self) -> Heartbeat:
        """Return the heartbeat as of now."""
        now = self._clock()
        steps = self.under_way()
        if not steps:
            # A thread between two steps of a stream, or one that waits for a reader, is busy.
            is_busy = self._worker.current is not None or bool(self._worker.turns)
            return Heartbeat(Activity.BUSY if is_busy else Activity.IDLE, 0.0)
        is_stuck = any(now - since > self._patience(job) for job, since in steps)
        oldest = min(since for _, since in steps)
        return Heartbeat(Activity.STUCK if is_stuck else Activity.BUSY, max(now - oldest, 0.0))

    def _at_worker(self) -> tuple[Job, float] | None:
        worker = self._worker
        job, since = worker.current, max(worker.since, worker.progressed_at)
        if job is None:
            return None
        if job.stream is not None and job.stream.is_waiting:
            return None
        return job, since

    def _patience(self, job: Job) -> float:
        """Return the seconds after which a step of ``job`` that makes no progress is stuck."""
        if self._hang_timeout is not None:
            return self._hang_timeout
        operation = job.operation
        mean = operation.service_time.mean
        if mean is None or job.in_pool:
            return UNKNOWN
        items = 1 if operation.batching is None else operation.batching.rule.max_size
        return max(SHORTEST, USUAL * mean * items)
