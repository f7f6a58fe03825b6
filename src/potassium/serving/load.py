"""How much a server has to do, for balancers."""

import time
from collections.abc import Callable
from typing import NamedTuple

from potassium.engine import Engine
from potassium.http.load_report import Load

__all__ = ["LoadMeter"]

SHORTEST = 1.0  # seconds over which rates are measured, at least


class _Mark(NamedTuple):
    """What was counted until a time, in monotonic seconds."""

    at: float
    busy: float
    answered: int
    failed: int


class LoadMeter:
    """Measures the load of an engine when somebody asks, and costs nothing otherwise.

    Rates are over the time since they were last computed, at least a second. The first time, there
    are none; then only what is under way counts.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._mark = self._now()
        self._busy = float(engine.pulse.is_busy)  # share of the time
        self._rps = self._eps = 0.0

    def load(self) -> Load:
        """Return the load as of now. Belongs to the event loop."""
        engine, mark, now = self._engine, self._mark, self._now()
        if (seconds := now.at - mark.at) >= SHORTEST:
            self._mark = now
            self._busy = min((now.busy - mark.busy) / seconds / engine.servers, 1.0)
            self._rps = (now.answered - mark.answered) / seconds
            self._eps = (now.failed - mark.failed) / seconds
        capacities = [engine.capacity]
        busy, calls = self._busy, len(engine.calls)
        if not engine.uses_thread:
            capacities = [lane.jobs.capacity for lane in engine.lanes.values()]
            busy = min(calls / sum(one.concurrency or 1 for one in engine.lanes), 1.0)
        waiting = sum(capacity.waiting for capacity in capacities)
        limit = sum(capacity.limit for capacity in capacities)
        return Load(
            application_utilization=busy + waiting / limit,
            rps_fractional=self._rps,
            eps=self._eps,
            named_metrics={
                "busy": busy,
                "queue_length": waiting,
                "queue_limit": limit,
                "open_calls": calls,
            },
        )

    def _now(self) -> _Mark:
        engine, now = self._engine, self._clock()
        busy, counts = engine.pulse.busy_seconds(), engine.calls.counts
        failed = counts.failed + counts.refused
        return _Mark(now, busy, counts.succeeded + counts.cancelled + failed, failed)
