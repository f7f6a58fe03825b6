"""The waiting jobs of a batched operation: when a batch is dispatched, and with which jobs.

A batch is dispatched when the thread is free and one of these holds; until then it gathers:

- it is full: it has the maximum number of items, or the maximum cost;
- its oldest item has waited for ``max_delay``;
- every recent caller of this operation is already waiting in it;
- no call has arrived for a moment, so that waiting longer would be in vain.

While a group runs, a batch is handed over behind it only if later arrivals could hardly improve
the batch: it is full, and either all its items cost about the same or enough wait to fill it twice.

A batch consists of the oldest job and those nearest to it in cost, so that little is spent on
padding. As the oldest job always goes first, none starves.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from potassium.engine.batching import Batching
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.operation_queue import OperationQueue

__all__ = ["BatchQueue"]

# Callers that have just been answered call again within a moment, in quick succession. A gap of
# this length means that no more are coming.
QUIET = 0.001  # seconds

EVEN = 0.95  # share of a batch's cost that is not padding, above which it can hardly improve


class BatchQueue(OperationQueue):
    """The waiting jobs of a batched operation, ordered by rank and by cost."""

    __slots__ = ("_batching", "_by_cost", "_clock", "_cost", "_last_arrival")

    def __init__(
        self, operation: Operation, batching: Batching, clock: Callable[[], float]
    ) -> None:
        super().__init__(operation)
        self._batching = batching
        self._clock = clock
        self._last_arrival = 0.0
        self._cost = 0.0  # of all waiting jobs
        self._by_cost: list[tuple[float, float, Job]] = []

    def add(self, job: Job) -> None:
        """Queue ``job``, which arrives now."""
        super().add(job)
        job.arrived_at = self._last_arrival = self._clock()
        self._cost += job.cost
        insort(self._by_cost, (job.cost, job.rank, job))

    def patience(self, now: float) -> float:
        """Return how many seconds to go on gathering; 0 or less to dispatch the batch now."""
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
        """Return the jobs of the next batch in order of rank; the first in line is among them."""
        batching = self._batching
        size = batching.rule.max_size
        if batching.rule.cost is None:
            size = int(max(1, min(size, batching.ceiling.value)))
            # All cost the same, so they are in order of rank.
            return [job for _, _, job in self._by_cost[:size]]
        return self._nearest(self.first, size, batching.limit)

    def is_ripe(self) -> bool:
        """Return whether a batch dispatched now is about as good as one dispatched later."""
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
        """Return whether a batch has no room for another job like its costliest."""
        batching = self._batching
        size, costliest = len(chosen) + 1, max(job.cost for job in chosen)
        return size > batching.rule.max_size or batching.weight(size, costliest) > batching.limit

    def _nearest(self, oldest: Job, size: int, limit: float) -> list[Job]:
        """Return ``oldest`` and its nearest in cost: at most ``size`` jobs of weight ``limit``."""
        waiting = self._by_cost
        low = bisect_left(waiting, (oldest.cost, oldest.rank), key=lambda entry: entry[:2])
        high = low + 1  # waiting[low:high] is the batch
        while high - low < size:
            count = high - low + 1
            below = low > 0 and count * waiting[high - 1][0] <= limit
            above = high < len(waiting) and count * waiting[high][0] <= limit
            if above and below:
                # The nearer one; if both are equally near, the one that pads no other job.
                above = waiting[high][0] - oldest.cost < oldest.cost - waiting[low - 1][0]
            if above:
                high += 1
            elif below:
                low -= 1
            else:
                break
        return sorted((job for _, _, job in waiting[low:high]), key=lambda job: job.rank)
