"""A delivery store in memory, which ends with the process."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from potassium.config import Webhooks
from potassium.webhooks.backlog import Backlog
from potassium.webhooks.losses import Losses
from potassium.webhooks.model import Delivery, DeliveryAttempt, Full
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["MemoryDeliveries"]


class MemoryDeliveries:
    """A ``DeliveryStore`` in the memory of one process.

    It is bounded by ``Webhooks.max_waiting`` and ``max_bytes``, on either side: neither can take
    the room of the other. A delivery that has ended is forgotten; of one about a job, the attempts
    stay until the job is deleted.
    """

    def __init__(self, options: Webhooks | None = None) -> None:
        options = options or Webhooks()
        self.clock = SteadyClock()
        self._losses = Losses()
        self._sides = {
            is_guarded: Backlog(
                max_waiting=options.max_waiting, max_bytes=options.max_bytes, losses=self._losses
            )
            for is_guarded in (False, True)
        }
        self._attempts: defaultdict[str, list[DeliveryAttempt]] = defaultdict(list)
        self._of_job: defaultdict[str, dict[str, bool]] = defaultdict(dict)  # ids, and their sides

    @property
    def dropped(self) -> int:
        """How many deliveries it had no room for."""
        return self._losses.count

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery; drop it, or one that has failed, if there are too many."""
        self._add(delivery)

    async def take_due(
        self, *, is_guarded: bool, now: float, limit: int, full: Full, each: int = 1
    ) -> Sequence[Delivery]:
        """Take one due delivery of each of the next ``limit`` owners of one side."""
        del each  # taking one at a time costs little here
        return self._sides[is_guarded].take(now=now, limit=limit, full=full)

    async def next_due(self, *, is_guarded: bool, full: Full) -> float | None:
        """Return when the next turn of one side comes, or None if nothing waits."""
        return self._sides[is_guarded].next_turn(full)

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        """Store an attempt at a delivery that was taken, and give the delivery back."""
        if delivery.job_id is not None and delivery.id in self._of_job.get(delivery.job_id, ()):
            self._attempts[delivery.id].append(attempt)
        self._sides[delivery.is_guarded].tried(delivery.id, attempt.next_at)

    async def stop(self, delivery: Delivery) -> None:
        """Give up what has not arrived of the same job at the same URL, on the same side."""
        if delivery.job_id is None:
            return
        for other in list(self._undone(delivery.job_id)):
            if (other.url, other.is_guarded) == (delivery.url, delivery.is_guarded):
                self._sides[other.is_guarded].end(other.id)

    async def undelivered(self) -> int:
        """Return how many deliveries have neither arrived nor been given up."""
        return sum(len(side) for side in self._sides.values())

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver a webhook about a job, in order of time."""
        attempts = [
            attempt
            for delivery_id in self._of_job.get(job_id, ())
            for attempt in self._attempts.get(delivery_id, ())
        ]
        return sorted(attempts, key=lambda attempt: (attempt.at, attempt.number))

    def _add(self, delivery: Delivery) -> None:
        if delivery.job_id is not None:
            self._of_job[delivery.job_id][delivery.id] = delivery.is_guarded
        self._sides[delivery.is_guarded].add(delivery)

    def _forget_deliveries(self, job_id: str) -> None:
        for delivery_id in self._of_job.pop(job_id, ()):
            self._attempts.pop(delivery_id, None)

    def _has_undone(self, job_id: str) -> bool:
        return any(self._undone(job_id))

    def _undone(self, job_id: str) -> Iterator[Delivery]:
        for delivery_id, is_guarded in self._of_job.get(job_id, {}).items():
            delivery = self._sides[is_guarded].get(delivery_id)
            if delivery is not None:
                yield delivery
