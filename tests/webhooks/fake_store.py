"""A store of deliveries that can be made to fail."""

from collections.abc import Sequence
from dataclasses import replace

from potassium.errors import StoreFailed
from potassium.webhooks.model import Delivery, DeliveryAttempt, Full
from potassium.webhooks.steady_clock import SteadyClock

__all__ = ["FakeStore", "delivery_to"]


def delivery_to(url: str, id: str = "d-1", **members: object) -> Delivery:  # noqa: A002 - its name
    delivery = Delivery(
        id=id, url=url, body=b'{"out":1}', request_id="r-1", created_at=0.0, due_at=0.0
    )
    return replace(delivery, **members)  # type: ignore[arg-type]


class FakeStore:
    """Keeps deliveries as the protocol says, and looks through all; ``failures`` calls fail."""

    dropped = 0

    def __init__(self, *deliveries: Delivery) -> None:
        self.waiting = {delivery.id: delivery for delivery in deliveries}
        self.taken: dict[str, Delivery] = {}
        self.turns: dict[str, float] = {}
        self.attempts: list[DeliveryAttempt] = []
        self.failures = 0
        self.calls = 0
        self.clock = SteadyClock()

    async def add(self, delivery: Delivery) -> None:
        self._fail()
        self.waiting[delivery.id] = delivery

    async def take_due(
        self, *, is_guarded: bool, now: float, limit: int, full: Full, each: int = 1
    ) -> Sequence[Delivery]:
        del each
        self._fail()
        due: dict[str, Delivery] = {}  # the next of each owner
        for delivery in self._in_turn(is_guarded, full):
            if delivery.due_at is not None and delivery.due_at <= now:
                due.setdefault(delivery.owner, delivery)
        taken = list(due.values())[:limit]
        for delivery in taken:
            self.taken[delivery.id] = self.waiting.pop(delivery.id)
            self.turns |= {delivery.owner: now, delivery.host: now}
        return taken

    async def next_due(self, *, is_guarded: bool, full: Full) -> float | None:
        self._fail()
        waiting = self._in_turn(is_guarded, full)
        return min((one.due_at for one in waiting if one.due_at is not None), default=None)

    def _in_turn(self, is_guarded: bool, full: Full) -> list[Delivery]:
        def turn(delivery: Delivery) -> list[float]:
            due_at = delivery.due_at or 0.0
            names = (delivery.owner, delivery.host)
            return [*(max(due_at, self.turns.get(name, 0.0)) for name in names), due_at]

        waiting = [
            delivery
            for delivery in self.waiting.values()
            if delivery.is_guarded == is_guarded
            and delivery.host not in full.hosts
            and delivery.owner not in full.owners
        ]
        return sorted(waiting, key=turn)

    async def tried(self, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        self._fail()
        self.attempts.append(attempt)
        if self.taken.pop(delivery.id, None) is not None and attempt.next_at is not None:
            self.waiting[delivery.id] = delivery.tried(attempt.next_at)

    async def stop(self, delivery: Delivery) -> None:
        self._fail()
        for deliveries in (self.waiting, self.taken):
            for other in list(deliveries.values()):
                if (other.job_id, other.url) == (delivery.job_id, delivery.url):
                    del deliveries[other.id]

    async def undelivered(self) -> int:
        self._fail()
        return len(self.waiting) + len(self.taken)

    async def attempts_of(self, job_id: str) -> Sequence[DeliveryAttempt]:
        return self.attempts

    def _fail(self) -> None:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise StoreFailed("The disk is full.")
