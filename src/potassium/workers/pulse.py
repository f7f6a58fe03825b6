"""Whether the workers are idle, busy or stuck."""

from collections.abc import Sequence

from potassium.engine import Activity, Heartbeat, Job
from potassium.engine.heartbeat import Pulse
from potassium.engine.model_runner import Surroundings
from potassium.workers.post import Post
from potassium.workers.remote import RemoteWorker

__all__ = ["FleetPulse"]


class _NoPool:
    """Stands for the pool of a worker, whose steps count as those of the worker."""

    oldest: tuple[Job, float] | None = None


class FleetPulse:
    """The heartbeats of all workers, as one. Belongs to the event loop."""

    def __init__(self, posts: Sequence[Post], around: Surroundings) -> None:
        self._posts = posts
        self._around = around
        self._of: dict[RemoteWorker, Pulse] = {}

    @property
    def is_busy(self) -> bool:
        """Whether any worker is busy right now."""
        return any(pulse.is_busy for pulse in self._pulses())

    def of(self, worker: RemoteWorker) -> Pulse:
        """Return the pulse of one worker."""
        if worker not in self._of:
            hang_timeout, clock = self._around.limits.hang_timeout, self._around.clock
            self._of[worker] = Pulse(worker, _NoPool(), hang_timeout, clock=clock)
        return self._of[worker]

    def gone(self, worker: RemoteWorker) -> None:
        """Note that a worker has ended."""
        self._of.pop(worker, None)

    def busy_seconds(self) -> float:
        """Return for how many seconds the workers were busy, all together."""
        ended = sum(post.history.busy for post in self._posts)
        return ended + sum(pulse.busy_seconds() for pulse in self._pulses())

    def under_way(self) -> list[tuple[Job, float]]:
        """Return jobs that workers work on, and when each last made progress."""
        steps = [step for pulse in self._pulses() for step in pulse.under_way()]
        in_pool = self._around.pool.oldest
        return steps if in_pool is None else [*steps, in_pool]

    def beat(self) -> Heartbeat:
        """Return the heartbeat as of now: stuck if all workers are, busy if any is."""
        beats = [pulse.beat() for pulse in self._pulses()]
        if not beats:
            return Heartbeat(Activity.BUSY, 0.0)  # they load
        kinds = {beat.activity for beat in beats}
        kind = kinds.pop() if len(kinds) == 1 else Activity.BUSY
        return Heartbeat(kind, max(beat.last_progress_seconds for beat in beats))

    def _pulses(self) -> list[Pulse]:
        return [
            self.of(post.worker)
            for post in self._posts
            if post.worker is not None and post.is_ready
        ]
