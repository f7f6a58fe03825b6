"""When a device gets its next worker, once the last one has died or failed to load."""

import random
import time
from collections.abc import Callable

__all__ = ["GOOD_STRETCH", "PAUSES", "Restarts", "given_up_line", "restart_line"]

# Seconds before the next worker after each failure in a row; after one more failure, the device is
# given up. A single death costs no time. All of them together last a minute: longer than a driver's
# reset, or than the grace period of a former server that still holds the device's memory; short
# enough that a supervisor soon hears of a server that has no device left.
PAUSES = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
JITTER = 0.2  # share of a pause by which it may be shorter or longer

GOOD_STRETCH = 60.0  # seconds of service after which earlier failures count no longer


def restart_line(device: str, what: str, pause: float) -> str:
    """Return what the log says of a worker that ended; ``what`` is what happened to it."""
    when = f"in {pause:.0f} s" if pause else "now"
    return f"the worker of {device} {what}; a new one loads {when}"


def given_up_line(device: str, what: str, failures: int) -> str:
    """Return what the log says when a device gets no further worker."""
    return (
        f"the worker of {device} {what}; {device} is given up after {failures} failures in a row, "
        f"as none of its workers served for {GOOD_STRETCH:g} s. Restart the server to try again"
    )


class Restarts:
    """Decides for one device when it gets its next worker, and whether it gets one.

    ::

        loading ──ready()──▶ serving          a minute of service: failures = 0
          ▲  │                  │
          │  └─────failed()─────┤
          │                     ▼
          ├──── after a pause: 0, 1, 2 ... 32 s
          │                     │
          │                     └── no pause is left: given up, for good
          └── at once, if a poison call explains the death, which does not count

    Args:
        clock: returns monotonic seconds.
        random: returns numbers from 0 to 1, for pauses that vary, so that devices whose workers
            died together do not load together each time.

    Attributes:
        failures: how many count at the moment.
        is_given_up: whether the device gets no further worker.

    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.failures = 0
        self.is_given_up = False
        self._clock = clock
        self._random = random
        self._ready_at: float | None = None

    def ready(self) -> None:
        """Note that the device's worker has loaded and serves."""
        self._ready_at = self._clock()

    def failed(self, *, is_explained: bool = False) -> float | None:
        """Note that the worker died or failed to load; return the seconds until the next one.

        None if the device is given up. Of a death that a poison call explains
        (``is_explained``), or that the server has caused on purpose, the device is not to blame.
        """
        ready_at, self._ready_at = self._ready_at, None
        if self.is_given_up:
            return None
        if ready_at is not None and self._clock() - ready_at >= GOOD_STRETCH:
            self.failures = 0
        if is_explained:
            return 0.0
        self.failures += 1
        self.is_given_up = self.failures > len(PAUSES)
        if self.is_given_up:
            return None
        return PAUSES[self.failures - 1] * (1 - JITTER + 2 * JITTER * self._random())
