"""When the waiting jobs of one operation leave as a batch, and which of them.

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
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from potassium.config import Batch
from potassium.engine.callers import Callers
from potassium.errors import UsageError

if TYPE_CHECKING:
    from potassium.engine.job import Job
    from potassium.engine.operation_queue import OperationQueue

__all__ = ["Batching", "Ceiling"]

# Callers that have just been answered call again within a moment, one close upon the other. A gap
# of this length means that no more are coming.
QUIET = 0.001  # seconds

EVEN = 0.95  # of a batch's cost that is not padding, from where on it cannot be much better

RECOVERY = 100  # batches that have to fit before a larger one is tried again


class Ceiling:
    """How much of a batch fits into the accelerator's memory, as experience has it.

    Written on the GPU thread, read on the loop.
    """

    def __init__(self) -> None:
        """Begin with no ceiling."""
        self.value: float = inf
        self._fitted = 0

    def overflowed(self, fits: float) -> None:
        """Note that a batch did not fit, and that of it only parts of weight ``fits`` did."""
        self.value = fits
        self._fitted = 0

    def fitted(self, weight: float) -> None:
        """Note that a batch did; after many of about the ceiling's weight, allow twice as much."""
        if self.value < inf and weight > self.value / 2:
            self._fitted += 1
            if self._fitted >= RECOVERY:
                self._fitted = 0
                self.value *= 2


class Batching:
    """The rule of one operation and what it is decided by. Belongs to the event loop.

    Attributes:
        rule: what the app asked for.
        ceiling: what the memory allows; in items, or in cost where the rule has one.
        callers: how many call the operation.

    """

    def __init__(self, rule: Batch) -> None:
        """Batch by ``rule``."""
        self.rule = rule
        self.ceiling = Ceiling()
        self.callers = Callers()
        self._last_arrival = 0.0
        self._waiting_cost = 0.0
        self._by_cost: list[tuple[float, float, Job]] = []

    def cost_of(self, item: Any) -> float:
        """Return what ``item`` costs, as the rule says.

        Raises:
            UsageError: the rule's function returned something else than a number, 0 or more.

        """
        assert self.rule.cost is not None  # noqa: S101 - else all items cost the same
        cost = self.rule.cost(item)
        if hasattr(cost, "item"):
            cost = cost.item()  # a scalar of numpy's or torch's
        if not isinstance(cost, int | float) or not 0 <= cost < inf:
            raise UsageError(f"Batch(cost=...) returned {cost!r}: a number from 0 on is needed.")
        return cost

    def weight(self, size: int, cost: float) -> float:
        """Return what a batch takes: its size, by cost padded to its costliest item."""
        return size if self.rule.cost is None else size * cost

    def arrived(self, job: "Job", now: float) -> None:
        """Take a job in that now stands in line."""
        self._last_arrival = now
        self._waiting_cost += job.cost
        insort(self._by_cost, (job.cost, job.rank, job))

    def left(self, job: "Job") -> None:
        """Forget a job that stands in line no more."""
        self._waiting_cost -= job.cost
        key = (job.cost, job.rank)
        index = bisect_left(self._by_cost, key, key=lambda entry: entry[:2])
        del self._by_cost[index]

    def patience(self, line: "OperationQueue", now: float) -> float:
        """Return for how many seconds to go on gathering; 0 or less to leave now."""
        if len(line) >= self.callers.expected(now):
            return 0
        patience = min(
            line.first.arrived_at + self.rule.max_delay - now, self._last_arrival + QUIET - now
        )
        if patience <= 0 or self._is_full(line):
            return 0
        return patience

    def choose(self, oldest: "Job") -> list["Job"]:
        """Return the jobs that go along with ``oldest``, itself included, in order of rank."""
        size = self.rule.max_size
        if self.rule.cost is None:
            size = int(max(1, min(size, self.ceiling.value)))
            # All cost the same, so they stand in order of rank.
            return [job for _, _, job in self._by_cost[:size]]
        return self._nearest(oldest, size, self._limit())

    def is_ripe(self, line: "OperationQueue") -> bool:
        """Return whether a batch that leaves now is as good as one that leaves later."""
        limit = self._limit()
        enough = self.rule.max_size
        if len(line) >= 2 * enough or (self.rule.cost and self._waiting_cost >= 2 * limit):
            return True
        chosen = self.choose(line.first)
        costs = [job.cost for job in chosen]
        return self._fills(chosen, limit) and sum(costs) >= EVEN * len(costs) * max(costs)

    def _is_full(self, line: "OperationQueue") -> bool:
        if len(line) >= self.rule.max_size:
            return True
        chosen = self.choose(line.first)
        return len(chosen) < len(line) or self._fills(chosen, self._limit())

    def _fills(self, chosen: Sequence["Job"], limit: float) -> bool:
        """Return whether a batch has no room for one more like its costliest."""
        size = len(chosen) + 1
        return size > self.rule.max_size or self.weight(size, max(j.cost for j in chosen)) > limit

    def _limit(self) -> float:
        """Return the weight that a batch may have."""
        return min(self.rule.max_cost or inf, self.ceiling.value)

    def _nearest(self, oldest: "Job", size: int, limit: float) -> list["Job"]:
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
