"""Notices workers in which a call does not return."""

from collections.abc import Iterable

from potassium.engine.hang_watch import HangWatch
from potassium.engine.model_runner import Surroundings
from potassium.workers.post import Post
from potassium.workers.pulse import FleetPulse
from potassium.workers.remote import RemoteWorker

__all__ = ["Hangs"]


class Hangs:
    """Watches each worker from when it serves, if ``Limits.hang_timeout`` says for how long.

    Args:
        around: what the workers work with.
        pulse: when each of them last got any further.

    """

    def __init__(self, around: Surroundings, pulse: FleetPulse) -> None:
        self._around = around
        self._pulse = pulse
        self._watches: dict[RemoteWorker, HangWatch] = {}
        self._is_on = False

    def begin(self, posts: Iterable[Post]) -> None:
        """Watch the workers of ``posts``, and those that come later."""
        self._is_on = True
        for post in posts:
            self.watch(post)

    def watch(self, post: Post) -> None:
        """Watch a worker that serves; what hangs in it ends it."""
        longest, worker = self._around.limits.hang_timeout, post.worker
        if not self._is_on or longest is None or worker is None or worker in self._watches:
            return
        self._watches[worker] = HangWatch(
            self._pulse.of(worker),
            longest,
            lambda handler: post.hangs(handler, longest),
            clock=self._around.clock,
        )

    def gone(self, worker: RemoteWorker) -> None:
        """Watch a worker no longer, as it has ended."""
        if (watch := self._watches.pop(worker, None)) is not None:
            watch.close()
