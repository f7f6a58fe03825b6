"""What a worker is doing, as the front knows it."""

from collections.abc import Sequence

from potassium.engine import Job, Operation
from potassium.workers.given import Given
from potassium.workers.page import Page

__all__ = ["WorkerView"]

Group = tuple[Sequence[Job], list[Given]]  # the jobs, and what is known of each


class WorkerView:
    """What a worker is doing: by its page, and by what it was given and has told.

    To a ``Pulse``, it looks like the GPU thread of this process.

    Args:
        page: the memory shared with it.

    Attributes:
        page: the same.
        calls: those that it has, by number.
        groups: those that it has, by number.
        prepared: the calls that it has prepared or prepares, and was not given to run.
        slots: how many streams of each operation are open, stalled and parked.
        finished: how many calls have ended here.
        device_memory: the memory of each accelerator, as it has told last: bytes that are
            allocated, reserved and there.

    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.calls: dict[int, Given] = {}
        self.groups: dict[int, Group] = {}
        self.prepared: dict[Job, Given] = {}
        self.slots: dict[Operation, tuple[int, int, int]] = {}
        self.finished = 0
        self.device_memory: dict[str, tuple[float, float, float]] = {}

    @property
    def preparing(self) -> int:
        """How many calls it has that are not part of a group."""
        return len(self.prepared)

    @property
    def turns(self) -> int:
        """How many streams are about to make a step."""
        return sum(opened - stalled for opened, stalled, _ in self.slots.values())

    @property
    def current(self) -> Job | None:
        """The job that it is running, or that it should have begun."""
        given = self._oldest()
        return None if given is None else given.job

    def runs(self, job: Job) -> bool:
        """Return whether the model is running a job right now."""
        given = self.calls.get(self.page.current)
        return given is not None and given.job is job

    @property
    def since(self) -> float:
        """When it began to run that one or was given it, or when it began to be idle."""
        given = self._oldest()
        if given is None or given.number == self.page.current:
            return self.page.since
        return given.since

    @property
    def progressed_at(self) -> float:
        """When that one last told that it goes on."""
        return self.page.progressed_at

    @property
    def busy(self) -> float:
        """The seconds spent on what has ended."""
        return self.page.busy

    @property
    def busy_since(self) -> float | None:
        """When it began what has not ended."""
        return self.page.busy_since

    def busy_until(self, now: float) -> float:
        """Return for how many seconds it was busy, what it has not ended included."""
        busy, since = self.busy, self.busy_since
        return busy if since is None else busy + max(now - since, 0.0)

    def free_streams(self, operation: Operation) -> int:
        """Return how many more streams of ``operation`` may open, those that wait apart."""
        opened, stalled, parked = self.slots.get(operation, (0, 0, 0))
        most = operation.streams
        return min(most - (opened - stalled), 2 * most - opened) - parked

    def _oldest(self) -> Given | None:
        given = self.calls.get(self.page.current)
        if given is not None:
            return given
        for _, members in self.groups.values():
            for one in members:
                if one.number in self.calls and one.job.stream is None:
                    return one
        return next((one for one in self.prepared.values() if not one.job.is_queued), None)
