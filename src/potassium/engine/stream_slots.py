"""Which streams take turns on the GPU thread, and what waits for a place among them."""

from collections.abc import Iterator

from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.stream import Stream

__all__ = ["StreamSlots"]


class StreamSlots:
    """The places of streams, for each operation as many as it may have open.

    What would be one more is parked until one of them leaves. A stream whose reader does not keep
    up leaves as well, and comes back when there is room: it holds what it holds anyway, so it
    need not wait for a place again. Belongs to the GPU thread.

    Attributes:
        active: the streams that make a step in each round, in the order in which they came.
        parked: jobs that may stream, and wait until a stream of theirs leaves.

    """

    def __init__(self) -> None:
        """Begin with none."""
        self.active: list[Stream[Job]] = []
        self.parked: list[Job] = []
        self._stalled: set[Stream[Job]] = set()

    def __iter__(self) -> Iterator[Stream[Job]]:
        """Return all streams that are open."""
        return iter([*self.active, *self._stalled])

    def is_taken(self, operation: Operation) -> bool:
        """Return whether as many streams of ``operation`` take turns as may."""
        turns = sum(stream.job.operation is operation for stream in self.active)
        return turns >= operation.streams

    def enter(self, stream: Stream[Job]) -> None:
        """Give ``stream`` its turns."""
        stream.job.operation.open_streams += 1
        self.active.append(stream)

    def leave(self, stream: Stream[Job]) -> None:
        """Give it none any more."""
        self.active.remove(stream)
        stream.job.operation.open_streams -= 1

    def stall(self, stream: Stream[Job]) -> None:
        """Give it none until it comes back."""
        self.leave(stream)
        self._stalled.add(stream)

    def come_back(self, stream: Stream[Job]) -> None:
        """Give it turns again, if it has stalled."""
        if stream in self._stalled:
            self._stalled.remove(stream)
            stream.has_stalled = False
            self.enter(stream)

    def park(self, job: Job) -> None:
        """Let ``job`` wait for a place."""
        job.operation.open_streams += 1
        self.parked.append(job)

    def unparked(self) -> Iterator[Job]:
        """Yield the jobs, one by one, that have a place now, or need none any more."""
        for job in tuple(self.parked):
            if job.called_off is not None or not self.is_taken(job.operation):
                self.parked.remove(job)
                job.operation.open_streams -= 1
                yield job
