"""Which streams take turns on the GPU thread, and which jobs wait for a slot."""

from collections.abc import Iterator

from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.stream import Stream

__all__ = ["StreamSlots"]


class StreamSlots:
    """The slots for streams: each operation has ``Operation.streams`` of them.

    A job that would open one more is parked until one of them leaves. A stream whose reader does
    not keep up also gives its slot away, and goes on when there is room: it keeps its memory all
    the while, so it need not wait for a slot again. That memory is why only as many may be
    replaced as there are slots: once twice as many streams are open, no more are opened, even if
    all of them have stalled. Belongs to the GPU thread.

    Attributes:
        active: the streams that make a step in each round, in the order in which they entered.
        parked: jobs that may stream and wait until their operation may open another stream.

    """

    def __init__(self) -> None:
        self.active: list[Stream[Job]] = []
        self.parked: list[Job] = []
        self._stalled: set[Stream[Job]] = set()

    def __iter__(self) -> Iterator[Stream[Job]]:
        """Return an iterator over all open streams."""
        return iter([*self.active, *self._stalled])

    def is_taken(self, operation: Operation) -> bool:
        """Return whether ``operation`` may open no more streams now."""
        return operation.free_streams <= 0

    def unclaimed(self, operation: Operation) -> int:
        """Return how many more streams of ``operation`` may open than are parked; any thread."""
        return operation.free_streams - operation.parked_jobs

    def enter(self, stream: Stream[Job]) -> None:
        """Give ``stream``, which is new, turns from now on."""
        stream.job.operation.open_streams += 1
        self.active.append(stream)

    def leave(self, stream: Stream[Job]) -> None:
        """Give ``stream``, which has ended, no more turns."""
        self.active.remove(stream)
        stream.job.operation.open_streams -= 1

    def stall(self, stream: Stream[Job]) -> None:
        """Give ``stream`` no turns until it comes back."""
        self.active.remove(stream)
        self._stalled.add(stream)
        stream.stalls += 1
        stream.job.operation.stalled_streams += 1

    def come_back(self, stream: Stream[Job]) -> None:
        """Give ``stream`` turns again if it has stalled."""
        if stream in self._stalled:
            self._stalled.remove(stream)
            stream.has_stalled = False
            stream.job.operation.stalled_streams -= 1
            self.active.append(stream)

    def park(self, job: Job) -> None:
        """Let ``job`` wait for a slot."""
        job.operation.parked_jobs += 1
        self.parked.append(job)

    def unparked(self) -> Iterator[Job]:
        """Yield, one by one, the parked jobs that can have a slot now or no longer need one."""
        for job in tuple(self.parked):
            if job.called_off is not None or not self.is_taken(job.operation):
                self.parked.remove(job)
                job.operation.parked_jobs -= 1
                yield job
