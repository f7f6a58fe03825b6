"""The clock by which stores wait, expire and delete: setting the wall clock does not move it."""

import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["SteadyClock", "boot_id", "seconds_passed"]

# Slower than this, the wall clock is not followed: what is shown stays the same each time.
LEEWAY = 1.0  # seconds

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def seconds_passed() -> float:
    """Return seconds that have passed since some moment, also while the machine was suspended.

    After a restart of the process they continue from the same moment; after one of the machine they
    do not.
    """
    # CLOCK_MONOTONIC stands still while Linux is suspended; elsewhere it goes on.
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", None) or getattr(
        time, "CLOCK_MONOTONIC", None
    )
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def boot_id() -> str | None:
    """Return what identifies this run of the machine, or None if the system does not say."""
    try:
        return BOOT_ID.read_text().strip() or None
    except OSError:
        return None


class SteadyClock:
    """Seconds since the epoch as they pass, whatever happens to the wall clock.

    It begins at the time on the wall. When the wall clock is set, only what is shown follows it.

    Args:
        wall: returns the time on the wall, in seconds since the epoch.
        passed: see ``seconds_passed``.
        boot: see ``boot_id``.

    Attributes:
        boot: the run of the machine in which ``ahead`` holds.
        ahead: how far this clock is ahead of ``passed``.

    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        passed: Callable[[], float] = seconds_passed,
        boot: Callable[[], str | None] = boot_id,
    ) -> None:
        self._wall = wall
        self._passed = passed
        self.boot = boot()
        self.ahead = wall() - passed()
        self._offset = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._passed() + self.ahead

    @property
    def offset(self) -> float:
        """How far the wall clock is ahead of this one; differences below a second do not count."""
        offset = self._wall() - self()
        if abs(offset - self._offset) > LEEWAY:
            self._offset = offset
        return self._offset

    def shown(self, moment: float) -> float:
        """Return a moment of this clock as the time that was on the wall, as it is set now."""
        return moment + self.offset

    def resume(self, boot: str | None, ahead: float, offset: float, *, latest: float) -> None:
        """Continue a clock of which ``boot``, ``ahead`` and ``offset`` were kept.

        In the same run of the machine nothing is lost. In another one, the wall clock tells how
        much time has passed; if it was set back meanwhile, none has since ``latest``, the latest
        moment that is known.
        """
        self._offset = offset
        if boot is not None and boot == self.boot:
            self.ahead = ahead
        else:
            self.ahead = self._wall() - offset - self._passed()
        self.ahead += max(0.0, latest - self())
