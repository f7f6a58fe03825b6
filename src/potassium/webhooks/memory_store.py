"""A delivery store in memory, which ends with the process."""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import count

from potassium.webhooks.model import Delivery, DeliveryAttempt

__all__ = ["MemoryDeliveries"]


class MemoryDeliveries:
    """A ``DeliveryStore`` in the memory of one process.

    A delivery from a direct call is forgotten once it has arrived or was given up, as nobody can
    ask for it. A delivery about a job stays, with its attempts.
    """

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}
        self._attempts: defaultdict[str, list[DeliveryAttempt]] = defaultdict(list)
        self._of_job: defaultdict[str, list[str]] = defaultdict(list)
        # By due time. Taken deliveries are not in it; those given up since are skipped.
        self._waiting: list[tuple[float, int, Delivery]] = []
        self._order = count()

    async def add(self, delivery: Delivery) -> None:
        """Store a new delivery."""
        self._add(delivery)

    async def take_due(
        self, *, now: float, limit: int, without_hosts: Collection[str]
    ) -> Sequence[Delivery]:
        """Return up to ``limit`` deliveries that are due, in order of their due time."""
        taken: list[Delivery] = []
        passed_over = []
        while len(taken) < limit and (first := self._first()) and first[0] <= now:
            heapq.heappop(self._waiting)
            if first[2].host in without_hosts:
                passed_over.append(first)
            else:
                taken.append(first[2])
        for entry in passed_over:
            heapq.heappush(self._waiting, entry)
        return taken

    async def next_due(self) -> float | None:
        """Return when the next delivery that nobody has taken is due, or None if there is none."""
        first = self._first()
        return None if first is None else first[0]

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        """Store an attempt at a delivery that was taken, and give the delivery back."""
        kept = self._deliveries.get(delivery.id)
        if kept is None:
            return
        if kept.job_id is not None:
            self._attempts[kept.id].append(attempt)
        # A delivery that was given up meanwhile stays given up.
        self._keep(kept.tried(None if kept.due_at is None else attempt.next_at))

    async def stop(self, job_id: str) -> None:
        """Give up all deliveries of a job that have not arrived."""
        for delivery in list(self._deliveries_of(job_id)):
            self._deliveries[delivery.id] = replace(delivery, due_at=None)

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """Return every attempt to deliver a webhook about a job, in order of time."""
        attempts = [
            attempt
            for delivery in self._deliveries_of(job_id)
            for attempt in self._attempts.get(delivery.id, ())
        ]
        return sorted(attempts, key=lambda attempt: (attempt.at, attempt.number))

    def _add(self, delivery: Delivery) -> None:
        if delivery.job_id is not None:
            self._of_job[delivery.job_id].append(delivery.id)
        self._keep(delivery)

    def _keep(self, delivery: Delivery) -> None:
        if delivery.due_at is not None:
            self._deliveries[delivery.id] = delivery
            heapq.heappush(self._waiting, (delivery.due_at, next(self._order), delivery))
        elif delivery.job_id is not None:
            self._deliveries[delivery.id] = delivery
        else:
            self._deliveries.pop(delivery.id, None)

    def _forget_deliveries(self, job_id: str) -> None:
        for delivery_id in self._of_job.pop(job_id, ()):
            del self._deliveries[delivery_id]
            self._attempts.pop(delivery_id, None)

    def _has_undone(self, job_id: str) -> bool:
        return any(delivery.due_at is not None for delivery in self._deliveries_of(job_id))

    def _deliveries_of(self, job_id: str) -> Iterator[Delivery]:
        return (self._deliveries[delivery_id] for delivery_id in self._of_job.get(job_id, ()))

    def _first(self) -> tuple[float, int, Delivery] | None:
        while self._waiting:
            first = self._waiting[0]
            if self._deliveries.get(first[2].id) is first[2]:
                return first
            heapq.heappop(self._waiting)  # given up since
        return None
