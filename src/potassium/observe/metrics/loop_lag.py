"""How late the event loop is."""

import asyncio
import time
from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import Metric

from potassium.observe.metrics.histogram import Histogram
from potassium.observe.metrics.shown import Shown

__all__ = ["LoopLag"]

INTERVAL = 0.1  # seconds between two looks
MOST = 1000  # looks that a loop which was held for long has missed, and that are made up for


class LoopLag:
    """Measures at intervals how late the event loop calls back, from ``begin`` to ``end``.

    While the loop is held for long, no look is made. The looks that were missed are made up for
    afterwards, each with the time that it would have waited: so the histogram says what a callback
    scheduled at any time would have seen.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lags = Histogram()
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0

    def begin(self) -> None:
        """Begin to measure the running event loop."""
        self._wait()

    def end(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def families(self, shown: Shown) -> Iterator[Metric]:
        """Yield what there is to show."""
        yield shown.histogram(
            "potassium_event_loop_lag_seconds",
            "Seconds by which the event loop is late to call back.",
            {(): self._lags},
        )

    def _wait(self) -> None:
        self._due_at = self._clock() + INTERVAL
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def _look(self) -> None:
        lag = max(self._clock() - self._due_at, 0.0)
        for missed in range(min(int(lag / INTERVAL), MOST) + 1):
            self._lags.add(lag - missed * INTERVAL)
        self._wait()
