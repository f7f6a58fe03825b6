"""The waiting jobs of one operation."""

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from potassium.engine.job import Job, Operation

__all__ = ["Line"]

STALE = 32  # entries of jobs that have left, beyond those that wait, before they are cleared out


class Line:
    """Jobs in order of rank; any of them may leave at any time.

    Attributes:
        operation: what all of them do.

    """

    __slots__ = ("_heap", "_length", "operation")

    def __init__(self, operation: "Operation") -> None:
        """Begin empty."""
        self.operation = operation
        self._heap: list[tuple[tuple[int, int], Job]] = []  # also of jobs that have left
        self._length = 0

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return self._length

    def add(self, job: "Job") -> None:
        """Let ``job`` stand in line."""
        job.in_line = True
        self._length += 1
        heappush(self._heap, (job.rank, job))

    def first(self) -> "Job | None":
        """Return the job that is next, which stays; None where nobody waits."""
        heap = self._heap
        while heap:
            job = heap[0][1]
            if job.in_line:
                return job
            heappop(heap)
        return None

    def remove(self, job: "Job") -> None:
        """Take ``job``, which is in this line, out of it."""
        job.in_line = False
        self._length -= 1
        if self._heap[0][1] is job:
            heappop(self._heap)
        elif len(self._heap) > 2 * self._length + STALE:
            self._heap = [entry for entry in self._heap if entry[1].in_line]
            heapify(self._heap)
