"""A store of deliveries in memory that can be made to fail."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from potassium.errors import StoreFailed
from potassium.webhooks.model import Delivery, DeliveryAttempt

__all__ = ["FakeStore", "delivery_to"]


def delivery_to(url: str, id: str = "d-1", **members: object) -> Delivery:  # noqa: A002 - its name
    delivery = Delivery(
        id=id, url=url, body=b'{"out":1}', request_id="r-1", created_at=0.0, due_at=0.0
    )
    return replace(delivery, **members)  # type: ignore[arg-type]


class FakeStore:
    """Keeps deliveries as the protocol says; the next ``failures`` calls fail."""

    def __init__(self, *deliveries: Delivery) -> None:
        self.waiting = {delivery.id: delivery for delivery in deliveries}
        self.taken: dict[str, Delivery] = {}
        self.attempts: list[DeliveryAttempt] = []
        self.failures = 0
        self.calls = 0

    async def add(self, delivery: Delivery) -> None:
        self._fail()
        self.waiting[delivery.id] = delivery

    async def take_due(
        self, *, now: float, limit: int, without_hosts: Collection[str]
    ) -> Sequence[Delivery]:
        self._fail()
        due = [
            delivery
            for delivery in self.waiting.values()
            if delivery.due_at is not None
            and delivery.due_at <= now
            and delivery.host not in without_hosts
        ]
        due = sorted(due, key=lambda delivery: delivery.due_at or 0.0)[:limit]
        for delivery in due:
            self.taken[delivery.id] = self.waiting.pop(delivery.id)
        return due

    async def next_due(self) -> float | None:
        self._fail()
        due = [delivery.due_at for delivery in self.waiting.values()]
        return min((moment for moment in due if moment is not None), default=None)

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        self._fail()
        self.attempts.append(attempt)
        if self.taken.pop(delivery.id, None) is not None and attempt.next_at is not None:
            self.waiting[delivery.id] = delivery.tried(attempt.next_at)

    async def stop(self, job_id: str) -> None:
        self._fail()
        for deliveries in (self.waiting, self.taken):
            for delivery in list(deliveries.values()):
                if delivery.job_id == job_id:
                    del deliveries[delivery.id]

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        return self.attempts

    def _fail(self) -> None:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise StoreFailed("The disk is full.")
