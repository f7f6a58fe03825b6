"""When the waiting jobs of a batched operation leave as a batch, and which of them.

A batch leaves when the thread is free and one of these holds; until then it gathers:

- it is full: as many items as it may have, or as much cost;
- its oldest item has waited for ``max_delay``;
- whoever calls this operation these days is waiting in it already;
- nobody has come for a moment, so that waiting on would be in vain.

Where later company could hardly better it, one lies ready behind the group that runs: it is full,
and either all of it costs about the same or enough wait to fill it twice.

In it are the oldest job and those of the nearest cost, so that little is spent on padding; as the
oldest always goes first, nobody starves.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from potassium.engine.batching import Batching
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.operation_queue import OperationQueue

__all__ = ["BatchQueue"]

# Callers that have just been answered call again within a moment, one close upon the other. A gap
# of this length means that no more are coming.
QUIET = 0.001  # seconds

EVEN = 0.95  # of a batch's cost that is not padding, from where on it cannot be much better


class BatchQueue(OperationQueue):
    """The waiting jobs of a batched operation, by rank and by cost."""

    __slots__ = ("_batching", "_by_cost", "_clock", "_cost", "_last_arrival")

    def __init__(
        self, operation: Operation, batching: Batching, clock: Callable[[], float]
    ) -> None:
        super().__init__(operation)
        self._batching = batching
        self._clock = clock
        self._last_arrival = 0.0
        self._cost = 0.0  # of all that wait
        self._by_cost: list[tuple[float, float, Job]] = []

    def add(self, job: Job) -> None:
        """Let ``job`` wait, from now on."""
        super().add(job)
        job.arrived_at = self._last_arrival = self._clock()
        self._cost += job.cost
        insort(self._by_cost, (job.cost, job.rank, job))

    def patience(self, now: float) -> float:
        """Return for how many seconds to go on gathering; 0 or less to leave now."""
        if len(self) >= self._batching.callers.expected(now):
            return 0
        patience = min(
            self.first.arrived_at + self._batching.rule.max_delay - now,
            self._last_arrival + QUIET - now,
        )
        if patience <= 0 or self._is_full():
            return 0
        return patience

    def choose(self) -> list[Job]:
        """Return the jobs that would leave now, the first in line among them, in order of rank."""
        batching = self._batching
        size = batching.rule.max_size
        if batching.rule.cost is None:
            size = int(max(1, min(size, batching.ceiling.value)))
            # All cost the same, so they stand in order of rank.
            return [job for _, _, job in self._by_cost[:size]]
        return self._nearest(self.first, size, batching.limit)

    def is_ripe(self) -> bool:
        """Return whether a batch that leaves now is as good as one that leaves later."""
        rule, limit = self._batching.rule, self._batching.limit
        if len(self) >= 2 * rule.max_size or (rule.cost and self._cost >= 2 * limit):
            return True
        chosen = self.choose()
        costs = [job.cost for job in chosen]
        return self._fills(chosen) and sum(costs) >= EVEN * len(costs) * max(costs)

    def _left(self, job: Job) -> None:
        super()._left(job)
        self._cost -= job.cost
        key = (job.cost, job.rank)
        index = bisect_left(self._by_cost, key, key=lambda entry: entry[:2])
        del self._by_cost[index]

    def _is_full(self) -> bool:
        if len(self) >= self._batching.rule.max_size:
            return True
        chosen = self.choose()
        return len(chosen) < len(self) or self._fills(chosen)

    def _fills(self, chosen: Sequence[Job]) -> bool:
        """Return whether a batch has no room for one more like its costliest."""
        batching = self._batching
        size, costliest = len(chosen) + 1, max(job.cost for job in chosen)
        return size > batching.rule.max_size or batching.weight(size, costliest) > batching.limit

    def _nearest(self, oldest: Job, size: int, limit: float) -> list[Job]:
        """Return ``oldest`` and its nearest in cost, at most ``size`` and ``limit`` together."""
        waiting = self._by_cost
        low = bisect_left(waiting, (oldest.cost, oldest.rank), key=lambda entry: entry[:2])
        high = low + 1  # waiting[low:high] is the batch
        while high - low < size:
            count = high - low + 1
            below = low > 0 and count * waiting[high - 1][0] <= limit
            above = high < len(waiting) and count * waiting[high][0] <= limit
            if above and below:
                # The nearer one; of two as near, the one that pads nobody.
                above = waiting[high][0] - oldest.cost < oldest.cost - waiting[low - 1][0]
            if above:
                high += 1
            elif below:
                low -= 1
            else:
                break
        return sorted((job for _, _, job in waiting[low:high]), key=lambda job: job.rank)
