"""What the workers of one device have done, and how they have ended."""

from collections import Counter
from dataclasses import dataclass, field

from potassium.workers.death import EndKind, WorkerEnd
from potassium.workers.view import WorkerView

__all__ = ["History"]


@dataclass(slots=True)
class History:
    """What is known of the workers that a device has had.

    Attributes:
        ends: how many have ended that were not to, by kind.
        last_end: how the last one has ended; None if none has.
        load_seconds: how long the last one that has loaded took; None until one has.
        busy: for how many seconds the model was in use in those that have ended.
        finished: how many calls have ended in those.

    """

    ends: Counter[EndKind] = field(default_factory=Counter)
    last_end: WorkerEnd | None = None
    load_seconds: float | None = None
    busy: float = 0.0
    finished: int = 0

    def note(self, end: WorkerEnd, worker: WorkerView, now: float) -> None:
        """Note how a worker has ended; its page can still be read."""
        self.last_end = end
        self.busy += worker.busy_until(now)
        self.finished += worker.finished

    @property
    def what_happened(self) -> str:
        """How the last one has ended, in words."""
        return "" if self.last_end is None else self.last_end.what

    def count(self) -> str:
        """Count the last end as one that was not to be; return what happened."""
        if self.last_end is None:
            return ""
        self.ends[self.last_end.kind] += 1
        return self.last_end.what
