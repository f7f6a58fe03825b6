"""Watches an app in a replica: whether it has failed, and whether it is to stop."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from potassium.ray.controller import told_to_stop
from potassium.ray.options import REACHABLE
from potassium.ray.sigterm import Sigterm
from potassium.serving.leftovers import exit_now

__all__ = ["Watch"]

PERIOD = 0.1  # seconds between two looks
LAST_ANSWERS = 0.5  # seconds in which the callers of an app that has failed get their 503
# An app that has failed refuses calls at once, and balancers prefer who answers at once. So it
# refuses them late, in seconds, and not as many as it could.
HELD = 0.35
SHORTEST = 0.05
STALE = 2.0  # seconds for which calls still come to a replica that Ray has taken off its list

# A controller that looks every two seconds stops a replica after three bad answers. If it has done
# nothing for so long after SIGTERM, in seconds, there is none, and the replica stops by itself.
CONTROLLER = 15.0

logger = logging.getLogger("potassium")


class Stoppable(Protocol):
    """The runtime of an app, as far as it is watched."""

    @property
    def has_failed(self) -> bool:
        """Whether it must be started in a new process."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a result."""

    def drain(self, *, calls: bool = True) -> None:
        """Begin no more background jobs and, with ``calls``, admit no more calls."""


class Watch:
    """Ends a replica that has failed, and drains one that is to stop.

    Ray gives a replica that stops no sign of it until nobody waits any more, and kills it if that
    takes too long: a call that takes longer would be cut off without an answer. So once Ray has
    taken the replica off the list of those that get calls, the app drains, as it does on SIGTERM
    elsewhere: what is not done at the end of the grace period is answered 503.

    Args:
        runtime: that of the app.
        sigterm: hears SIGTERM.
        told: returns whether Ray is stopping the replica.
        end: ends the process.
        clock: returns monotonic seconds.

    """

    def __init__(
        self,
        runtime: Stoppable,
        sigterm: Sigterm,
        *,
        told: Callable[[], bool] = told_to_stop,
        end: Callable[[int], object] = exit_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime, self._sigterm = runtime, sigterm
        self._told, self._end, self._clock = told, end, clock
        self._failed_at: float | None = None
        self._told_at: float | None = None
        self._signalled_at: float | None = None
        self._drains: set[bool] = set()

    async def hold(self) -> None:
        """Return at once, or late if the app has failed."""
        if self._runtime.has_failed:
            failed_at = self._failed_at = self._failed_at or self._clock()
            await asyncio.sleep(max(failed_at + HELD - self._clock(), SHORTEST))

    async def beside(self, lifespan: Awaitable[None]) -> None:
        """Watch as long as ``lifespan`` runs."""
        watching = asyncio.create_task(self._run(), name="potassium-ray-watch")
        try:
            await lifespan
        finally:
            watching.cancel()

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(PERIOD)

    def look(self) -> None:
        """Do what is to be done by now."""
        now = self._clock()
        if self._runtime.has_failed:
            self._failed_at = self._failed_at or now
            if now - self._failed_at >= LAST_ANSWERS:
                logger.critical("the replica has failed: Ray starts another one in its place")
                self._end(1)
        elif self._told_at is not None or self._told():
            self._stop(now)
        elif self._sigterm.received:
            self._leave(now)

    def _stop(self, now: float) -> None:
        """Begin no more jobs at once, and refuse calls once no more should come."""
        self._told_at = self._told_at or now
        self._drain(calls=now - self._told_at >= _reachable())

    def _leave(self, now: float) -> None:
        """Wait for the controller to stop this replica, as it fails the checks of its health."""
        if self._signalled_at is None:
            self._signalled_at = now
            logger.warning("the replica has got SIGTERM: Ray stops it, and starts another one")
        self._drain(calls=now - self._signalled_at >= CONTROLLER)
        if now - self._signalled_at >= CONTROLLER and self._runtime.is_idle:
            self._end(0)

    def _drain(self, *, calls: bool) -> None:
        if calls not in self._drains:
            self._drains.add(calls)
            self._runtime.drain(calls=calls)


def _reachable() -> float:
    """Return the seconds for which calls may come to a replica that Ray stops."""
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") != "1":
        return STALE
    listens = float(os.environ.get("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", REACHABLE))
    return listens + STALE  # Ray stops listening first: HAProxy then sends calls elsewhere
