"""Detecting a thread that is stuck for good."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from potassium.engine.heartbeat import Pulse

if TYPE_CHECKING:
    from potassium.engine.job import Job

__all__ = ["HangWatch"]


class HangWatch:
    """Checks at intervals whether a step of a call has made no progress for too long.

    See ``Pulse`` for what counts as progress: a stream may go on for hours. Of time without checks,
    because the whole process was stopped or the machine slept, only two intervals count. Belongs to
    the event loop.

    Args:
        report: called at most once, with the name of the handler that is stuck.

    """

    def __init__(
        self,
        pulse: Pulse,
        hang_timeout: float,
        report: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pulse = pulse
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
        begun, self._begun = self._begun, {}
        for job, since in self._pulse.under_way():
            seen = begun.get(job)
            stopped = seen[1] if seen is not None and seen[0] == since else before
            self._begun[job] = since, stopped
            if now - since - (self._stopped - stopped) > self._hang_timeout:
                self._report(job.operation.name)
                return
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)
